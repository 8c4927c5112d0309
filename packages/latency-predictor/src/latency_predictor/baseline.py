"""The plain regression latency = alpha M + beta C + gamma B + delta, for comparison, with its error on
models it never saw.

M: parameters in billions; C: positions; B: sequences. It knows no roofline: nothing keeps it above zero,
and a high R^2 over models of many sizes says little about any one of them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from roofline import analyze
from stable_ops import lstsq_qr

LEAST_ROWS = 8
_COLUMNS = ("model", "batch", "prompt", "latency_s")


@dataclass(frozen=True)
class Baseline:
    """The fitted line and how good it is, on its own rows and on models left out one at a time.

    `coefficients` are (alpha, beta, gamma, delta), seconds per unit; errors are absolute and relative to
    the measured.
    """

    coefficients: tuple[float, float, float, float]
    rows: int
    r2: float
    median_ape: float
    worst_ape: float
    held_out_median_ape: float | None
    held_out_worst_ape: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        alpha, beta, gamma, delta = self.coefficients
        return {
            "rows": self.rows,
            "r2": self.r2,
            "median_ape": self.median_ape,
            "worst_ape": self.worst_ape,
            "held_out_median_ape": self.held_out_median_ape,
            "held_out_worst_ape": self.held_out_worst_ape,
            "coefficients": {"alpha": alpha, "beta": beta, "gamma": gamma, "delta": delta},
        }


def read_rows(path: str | Path, *, phase: str = "") -> list[dict[str, Any]]:
    """Measurements from a CSV (columns model, batch, prompt, latency_s, and optionally phase) or a JSON
    with `rows`.

    Raises
    ------
    BadInput
        A missing column, or a value that is not a positive number; the row is named.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path}: no such file; expected a CSV or JSON of measurements")
    try:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text)["rows"] if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: cannot be read as {path.suffix or 'CSV'}: {error}") from error
    kept = [row for row in rows if not phase or row.get("phase", phase) == phase]
    return [_checked(path, number, row) for number, row in enumerate(kept, 1)]


def _checked(path: Path, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    missing = [key for key in _COLUMNS if row.get(key) in (None, "")]
    if missing:
        raise BadInput(f"{path}, row {number}: no {', '.join(missing)}; expected {', '.join(_COLUMNS)}")
    found = dict(row)
    try:
        found |= {key: int(row[key]) for key in ("batch", "prompt")} | {"latency_s": float(row["latency_s"])}
    except ValueError as error:
        raise BadInput(f"{path}, row {number}: {error}") from error
    if not 0 < found["latency_s"] < 1e6:
        raise BadInput(
            f"{path}, row {number}: latency_s is {found['latency_s']}, expected seconds above zero"
        )
    return found


def _design(rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    sizes = {
        name: analyze(name, device="H100").parameters / 1e9 for name in {str(row["model"]) for row in rows}
    }
    return np.array([[sizes[str(row["model"])], row["prompt"], row["batch"], 1.0] for row in rows])


def fit(rows: Sequence[Mapping[str, Any]]) -> Baseline:
    """Least squares by Householder QR (`stable_ops.lstsq_qr`), and the errors of the line.

    Parameters
    ----------
    rows
        From `read_rows`: model (a name or config that `roofline.analyze` takes), batch, prompt, latency_s.

    Raises
    ------
    BadInput
        Fewer than eight rows.
    """
    if len(rows) < LEAST_ROWS:
        raise BadInput(f"{len(rows)} rows; four coefficients need at least {LEAST_ROWS} to be worth anything")
    design = _design(rows)
    measured = np.array([row["latency_s"] for row in rows])
    solution = np.asarray(lstsq_qr(design, measured))
    fitted = design @ solution
    errors = np.abs(fitted / measured - 1)
    spread = float(np.sum((measured - measured.mean()) ** 2))
    held = _held_out(rows, design, measured)
    alpha, beta, gamma, delta = (float(value) for value in solution)
    return Baseline(
        coefficients=(alpha, beta, gamma, delta),
        rows=len(rows),
        r2=1 - float(np.sum((measured - fitted) ** 2)) / spread if spread else 0.0,
        median_ape=float(np.median(errors)),
        worst_ape=float(errors.max()),
        held_out_median_ape=None if held is None else float(np.median(held)),
        held_out_worst_ape=None if held is None else float(held.max()),
    )


def r_squared(rows: Sequence[Mapping[str, Any]]) -> float:
    """R^2 of the line through all rows."""
    return fit(rows).r2


def held_out_errors(rows: Sequence[Mapping[str, Any]], groups: Sequence[str]) -> NDArray[np.float64]:
    """Absolute relative errors of every row, by the line through the rows of the other groups."""
    design, measured = _design(rows), np.array([row["latency_s"] for row in rows])
    names, errors = np.array(groups), np.empty(len(rows))
    for name in sorted(set(groups)):
        held = names == name
        solution = np.asarray(lstsq_qr(design[~held], measured[~held]))
        errors[held] = np.abs(design[held] @ solution / measured[held] - 1)
    return errors


def _held_out(
    rows: Sequence[Mapping[str, Any]], design: NDArray[np.float64], measured: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Errors on each model from the line through the others; None with fewer than three models."""
    names = [str(row["model"]) for row in rows]
    counts = {name: names.count(name) for name in names}
    if len(counts) < 3 or len(rows) - max(counts.values()) < LEAST_ROWS:
        return None
    return held_out_errors(rows, names)
