"""The iteration time of a running server, from what its metrics say of many windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mm1_planner.metrics.series import Window

_FEWEST = 8
_POOR_R2, _POOR_ERROR = 0.9, 0.1
_NARROW = 1.5
_ALIKE = 0.98
_SAME = 1e-9
_IDLE = 0.5


@dataclass(frozen=True)
class Coefficient:
    """A fitted number with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LiveFit:
    """What a running server's metrics say.

    Attributes
    ----------
    era : str
        Of the metrics' names.
    windows, used, idle, incomplete, resets : int
        Windows there are; fitted on; left out since (nearly) nothing was decoded; left out since a metric
        was missing or NaN; counters that began anew.
    replicas : int
        Different ones.
    arrival_rate_per_s : float
        Of all replicas: what completed and by how much the backlog grew, over all windows, idle ones too.
    mean_prompt_tokens, mean_output_tokens : float
        Of a request.
    mean_ttft_s, mean_itl_s, mean_e2e_s, mean_wait_s : float
        Over all windows; NaN where not measured.
    coefficients : tuple of Coefficient
        `alpha_s`, `beta_s`, `gamma_s`, `delta_s` of an iteration, as `Replica` takes them; those that the
        windows do not tell apart are left out and named; empty where nothing can be fitted.
    r2, relative_error : float
        Of the ITL by window: share of the variance explained; root mean square error over the mean.
    warnings : tuple of str
        Why not to rely on it.
    """

    era: str
    windows: int
    used: int
    idle: int
    incomplete: int
    resets: int
    replicas: int
    arrival_rate_per_s: float
    mean_prompt_tokens: float
    mean_output_tokens: float
    mean_ttft_s: float
    mean_itl_s: float
    mean_e2e_s: float
    mean_wait_s: float
    coefficients: tuple[Coefficient, ...]
    r2: float
    relative_error: float
    warnings: tuple[str, ...]

    def value(self, name: str) -> float:
        """A coefficient's value; 0 where it was not fitted."""
        return next((each.value for each in self.coefficients if each.name == name), 0.0)

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        return asdict(self)


def fit_windows(
    windows: Sequence[Window], *, era: str = "unknown", cache_tokens: float | None = None
) -> LiveFit:
    r"""Fit the iteration time to the time between tokens of many windows, and add up the traffic.

    $$ \mathrm{ITL} = \alpha + \beta B + \gamma C + \delta P $$

    with B sequences decoding, by Little's law the sum of all times between tokens over the window's length,
    C tokens in the KV cache, its usage times its size, and P prompt tokens in an iteration, their rate times
    the ITL. Least squares with Student's intervals. A column that the others explain to 98 % cannot be told
    apart from them and is left out, gamma before delta, and a coefficient that comes out negative likewise;
    both are named.

    Parameters
    ----------
    windows : sequence of Window
        Of any number of replicas that are alike.
    era : str
        Passed on.
    cache_tokens : float, optional
        Tokens that the KV cache of a replica holds; otherwise what vLLM tells of it (`cache_config_info`).
        Without either gamma is not fitted: what the context costs is in beta.

    Notes
    -----
    A window that decodes fewer than half a sequence on average is idle: it counts for the rate only. In a
    window that is partly idle B is too small, so alpha comes out too large; warnings say where the
    range of B is too narrow or the fit poor.
    """
    complete = [window for window in windows if _complete(window)]
    busy = [each for each in complete if each.decoding >= _IDLE and each.counts["itl_count"] > 0]
    coefficients, r2, error, warnings = _fit(busy, cache_tokens)
    count, seconds = len({window.replica for window in windows}), sum(w.seconds for w in windows)
    resets = sum(window.resets for window in windows)
    return LiveFit(
        era=era,
        windows=len(windows),
        used=len(busy),
        idle=len(complete) - len(busy),
        incomplete=len(windows) - len(complete),
        resets=resets,
        replicas=count,
        arrival_rate_per_s=_arrivals(windows) / (seconds / count) if seconds else math.nan,
        mean_prompt_tokens=_ratio(windows, "prompt_tokens", "completed"),
        mean_output_tokens=_ratio(windows, "generation_tokens", "completed"),
        mean_ttft_s=_ratio(windows, "ttft_sum_s", "ttft_count"),
        mean_itl_s=_ratio(windows, "itl_sum_s", "itl_count"),
        mean_e2e_s=_ratio(windows, "e2e_sum_s", "e2e_count"),
        mean_wait_s=_ratio(windows, "wait_sum_s", "wait_count"),
        coefficients=coefficients,
        r2=r2,
        relative_error=error,
        warnings=warnings,
    )


def _complete(window: Window) -> bool:
    needed = ("itl_sum_s", "itl_count", "prompt_tokens")
    return all(math.isfinite(window.counts.get(name, math.nan)) for name in needed)


def _ratio(windows: Sequence[Window], above: str, below: str) -> float:
    both = [w.counts for w in windows if above in w.counts and below in w.counts]
    total = sum(counts[below] for counts in both)
    return sum(counts[above] for counts in both) / total if total > 0 else math.nan


def _arrivals(windows: Sequence[Window]) -> float:
    """Completed, and the growth of the backlog of each replica from its first window's end to its last's."""
    total = sum(window.counts.get("completed", 0.0) for window in windows)
    ends: dict[object, list[float]] = {}
    for window in windows:
        ends.setdefault(window.replica, []).append(window.waiting + window.running)
    for backlog in ends.values():
        known = [each for each in backlog if math.isfinite(each)]
        total += known[-1] - known[0] if known else 0.0
    return max(total, 0.0)


def _fit(
    busy: Sequence[Window], cache_tokens: float | None
) -> tuple[tuple[Coefficient, ...], float, float, tuple[str, ...]]:
    if len(busy) < _FEWEST:
        return (), math.nan, math.nan, (
            f"{len(busy)} busy windows are too few for a fit; give at least {_FEWEST}, at different loads",
        )  # fmt: skip
    itl = np.array([window.mean("itl") for window in busy])
    decoding = np.array([window.decoding for window in busy])
    prompts = np.array([window.prompt_tokens_per_s for window in busy]) * itl
    cached = np.array(
        [each.kv_usage * (each.cache_tokens if cache_tokens is None else cache_tokens) for each in busy]
    )
    columns = {"alpha_s": np.ones(itl.size), "beta_s": decoding, "delta_s": prompts}
    warnings = []
    if np.isfinite(cached).all():
        columns["gamma_s"] = cached
    elif np.isfinite(cached).any():
        warnings.append("the KV cache is not known in every window: gamma is not fitted, its cost is in beta")
    for name, where in (("gamma_s", "beta"), ("delta_s", "alpha and beta")):
        if name in columns and _explained(columns, name) > _ALIKE:
            warnings.append(
                f"{name} cannot be told apart: its column follows from the others; its cost is in {where}"
            )
            del columns[name]
    if decoding.max() < _NARROW * decoding.min():
        warnings.append(
            f"the load hardly varies ({decoding.min():.3g} to {decoding.max():.3g} sequences): "
            "alpha and beta cannot be told apart"
        )
    while True:
        names = list(columns)
        matrix = np.column_stack([columns[name] for name in names])
        solution, covariance, residual = _least_squares(matrix, itl)
        negative = [name for name, value in zip(names, solution, strict=True) if value < 0]
        if not negative or len(names) == 1:
            break
        worst = min(negative, key=lambda name: solution[names.index(name)] / abs(columns[name]).mean())
        warnings.append(f"{worst} came out negative and is taken as 0")
        del columns[worst]
    reach = _student(itl.size - len(names)) * np.sqrt(np.diag(covariance))
    found = tuple(
        Coefficient(name, float(value), float(value - wide), float(value + wide))
        for name, value, wide in sorted(zip(names, solution, reach, strict=True))
    )
    variance = float(((itl - itl.mean()) ** 2).sum())
    r2 = 1 - float(residual @ residual) / variance if variance > 0 else math.nan
    error = float(np.sqrt((residual**2).mean()) / itl.mean())
    if error > _POOR_ERROR or (r2 < _POOR_R2 and error > _POOR_ERROR / 4):
        warnings.append(
            f"poor fit: R2 {r2:.3g}, error {error:.1%} of the mean ITL; something else than load decides it"
        )
    wide = [each.name for each in found if each.high - each.low > 2 * abs(each.value)]
    if wide:
        warnings.append(f"{', '.join(wide)} is known to worse than 100 %")
    return found, r2, error, tuple(warnings)


def _explained(columns: dict[str, np.ndarray], name: str) -> float:
    """Share of a column's variance that the others explain; 1 of a column that does not vary."""
    target = columns[name]
    variance = float(((target - target.mean()) ** 2).sum())
    if variance <= (_SAME * float(np.abs(target).max())) ** 2 * target.size:
        return 1.0
    others = np.column_stack([column for other, column in columns.items() if other != name])
    residual = _least_squares(others, target)[2]
    return 1 - float(residual @ residual) / variance


def _least_squares(matrix: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solution, its covariance, and residuals; columns scaled, so that tokens and ones are of one size."""
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0] = 1.0
    scaled = matrix / scale
    solution = np.linalg.lstsq(scaled, target, rcond=None)[0]
    residual = target - scaled @ solution
    spread = float(residual @ residual) / max(target.size - matrix.shape[1], 1)
    covariance = np.linalg.pinv(scaled.T @ scaled) * spread
    return solution / scale, covariance / np.outer(scale, scale), residual


def _student(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(degrees, 1), 0.975))
