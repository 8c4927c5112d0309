"""What every stage answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mfi.report.page import Section

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Stage:
    """A finished stage: what the page shows and what `--json` prints under the section's id."""

    section: Section
    fields: Mapping[str, Any]
