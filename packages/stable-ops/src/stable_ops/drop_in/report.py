"""What a patch did, module by module."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Replaced:
    """A module whose forward is now one of our operators.

    Attributes
    ----------
    where : str
        Its path in the model, as `named_modules` gives it.
    original : str
        Its class.
    op : str
        The operator that computes it, with what sets its form.
    """

    where: str
    original: str
    op: str


@dataclass(frozen=True)
class Left:
    """A module that computes as before, and the reason."""

    where: str
    original: str
    reason: str


@dataclass(frozen=True)
class PatchReport:
    """Every module without children is in one of the two; attention, where transformers has it, too."""

    replaced: tuple[Replaced, ...]
    left: tuple[Left, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """One line for each class and operator, and for each class and reason."""
        done = Counter((item.original, item.op) for item in self.replaced)
        kept = Counter((item.original, item.reason) for item in self.left)
        lines = [f"{count} x {original} -> {op}" for (original, op), count in done.items()]
        lines += [f"{count} x {original} left: {reason}" for (original, reason), count in kept.items()]
        return "\n".join(lines)
