"""How well a predicted risk ranks the measured damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mfi_command import BadInput

DRAWS = 2000


@dataclass(frozen=True)
class Agreement:
    """Rank correlation of a prediction with the truth.

    Attributes
    ----------
    overall
        Spearman's rho over all layers.
    within_role
        Mean over the roles of Spearman's rho among the layers of one role: what is left when the name of a
        layer tells nothing. NaN when no role has three layers.
    by_role
        Rho of each role with at least three layers.
    layers
        Number of layers compared.
    top_decile_recall
        Part of the tenth of the layers with the largest damage (at least one) that the prediction puts into
        its own tenth.
    """

    overall: float
    within_role: float
    by_role: dict[str, float]
    layers: int
    top_decile_recall: float

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return asdict(self)


def spearman(first: Sequence[float] | Any, second: Sequence[float] | Any) -> float:
    """Spearman's rank correlation; equal values share their mean rank; NaN when one side is constant."""
    a, b = _ranks(first), _ranks(second)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")


def bootstrap_interval(pairs: np.ndarray[Any, Any], *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of Spearman's rho of pairs (n, 2), by drawing the pairs anew."""
    generator = np.random.default_rng(seed)
    draws = [pairs[generator.integers(0, len(pairs), len(pairs))] for _ in range(DRAWS)]
    found = np.array([spearman(drawn[:, 0], drawn[:, 1]) for drawn in draws])
    low, high = np.nanquantile(found, [0.025, 0.975]) if np.isfinite(found).any() else (np.nan, np.nan)
    return float(low), float(high)


def top_decile(values: Mapping[str, float]) -> set[str]:
    """Names of the tenth with the largest values, at least one."""
    count = max(1, round(len(values) / 10))
    return set(sorted(values, key=lambda name: -values[name])[:count])


def rank_agreement(
    predicted: Mapping[str, float], measured: Mapping[str, float], roles: Mapping[str, str]
) -> Agreement:
    """Compare predicted risks with measured damages of the same layers.

    Parameters
    ----------
    predicted, measured
        Numbers by layer name; only layers in both are compared.
    roles
        Role by layer name (q, k, v, o, gate, up, down, ...).

    Returns
    -------
    Agreement

    Raises
    ------
    BadInput
        If fewer than three layers are in both.
    """
    names = [name for name in predicted if name in measured]
    if len(names) < 3:
        raise BadInput(f"{len(names)} layers are in both: expected at least 3 to compare ranks")
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(roles[name], []).append(name)

    def rho(group: list[str]) -> float:
        return spearman([predicted[name] for name in group], [measured[name] for name in group])

    by_role = {role: rho(group) for role, group in groups.items() if len(group) >= 3}
    within = float(np.mean(list(by_role.values()))) if by_role else float("nan")
    worst = top_decile({name: measured[name] for name in names})
    found = top_decile({name: predicted[name] for name in names})
    return Agreement(rho(names), within, by_role, len(names), len(worst & found) / len(worst))


def _ranks(values: Sequence[float] | Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    data = np.asarray(values, dtype=np.float64)
    _, place, counts = np.unique(data, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=np.float64)
