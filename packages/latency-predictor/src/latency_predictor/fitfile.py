"""A fit of the user's own, in a file: a device, stacks on it, and the intervals that their rows gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latency_predictor.device_fit import completed, device_fit_from, read_fit, shipped
from latency_predictor.engine import Chosen, chosen_for
from latency_predictor.stacks import stack_from
from mfi_command import BadInput
from roofline import Device


def load(path: str | Path) -> dict[str, Any]:
    """`chosen`, `hardware`, `stacks`, `intervals`, and the dtypes of its products, as far as the file has
    them.

    Raises
    ------
    BadInput
        No file, or none that `fit` wrote.
    """
    content = read_fit(path)
    made = device_fit_from(content, str(path))
    found: dict[str, Any] = {"intervals": content.get("intervals", {})}
    try:
        found["hardware"] = Device(**content["hardware"])
        found["stacks"] = {name: stack_from(name, one) for name, one in content.get("stacks", {}).items()}
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path}: no usable fit: {error!r}; make it again with `fit --output`") from error
    found["dtypes"] = tuple(made.gemms)
    if made.gemms:
        full = completed(made, [fit for name, fit in shipped().items() if name != made.device])
        found["chosen"] = Chosen(full, True, f"fitted on {path}")
    else:
        found["chosen"] = chosen_for(made.device)
    return found
