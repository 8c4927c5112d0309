"""Scores of other tools, on the same layers: their formulas, written again here (the tools are not called).

Each answers a dictionary by layer name; larger means more damage expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from quant_risk_analyzer.gauss_newton import recorded
from quant_risk_analyzer.models import frozen
from quant_risk_analyzer.sites import Site


def spectrum(weight: torch.Tensor) -> np.ndarray[Any, Any]:
    """Singular values, largest first, float64."""
    wide = weight.double()
    gram = wide @ wide.T if len(wide) <= wide.shape[1] else wide.T @ wide
    return torch.linalg.eigvalsh(gram).clamp_(min=0).sqrt_().flip(0).cpu().numpy()


def weight_scores(site: Site, errors: torch.Tensor, int8_error: torch.Tensor) -> dict[str, list[float]]:
    """What needs the weight alone: squared error (llm-compressor's PR 3028, Quark), NNCF, spectra.

    `errors` is (formats, out, in); the answer has one number for each format.
    """
    # On the CPU: the spectra of small matrices are slow on a GPU that others use.
    weight, errors = site.weight.float().cpu(), errors.cpu()
    values, norm = spectrum(weight), float(torch.linalg.vector_norm(weight))
    lost = torch.linalg.vector_norm(errors, dim=(1, 2))
    constant = {
        "NNCF without data": 1 / (float((int8_error.float() ** 2).mean(1).max()) + 1e-30),
        "kurtosis": float(((weight - weight.mean()) ** 4).mean() / weight.var() ** 2),
        "weightwatcher alpha": tail_exponent(values**2),
        # Independent entries of this size would have their largest singular value there.
        "largest singular value over the edge of noise": _over_edge(values, site.shape),
    }
    return {
        "weight squared error": (lost**2).tolist(),
        "weight relative error": (lost / norm).tolist(),
        "spectral error ratio": [_largest(error) / float(values[0]) for error in errors],
        **{name: [value] * len(errors) for name, value in constant.items()},
    }


def _largest(matrix: torch.Tensor, steps: int = 30) -> float:
    """Largest singular value by power iteration: enough digits for a rank."""
    vector = torch.ones(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    for _ in range(steps):
        vector = torch.nn.functional.normalize(matrix.T @ (matrix @ vector), dim=0)
    return float(torch.linalg.vector_norm(matrix @ vector))


def _over_edge(values: np.ndarray[Any, Any], shape: tuple[int, int]) -> float:
    rows, columns = shape
    size = np.sqrt((values**2).sum() / (rows * columns))
    return float(values[0] / (size * (rows**0.5 + columns**0.5)))


def tail_exponent(values: np.ndarray[Any, Any]) -> float:
    """Exponent of a power law fitted to the upper tail of eigenvalues, cut where the fit is closest.

    Source: Clauset, Shalizi and Newman, "Power-law distributions in empirical data", SIAM Review 2009.
    """
    ordered = np.sort(values[values > 0])
    best, answer = np.inf, np.nan
    for start in range(max(1, len(ordered) - 4)):
        tail = ordered[start:]
        exponent = 1 + len(tail) / np.log(tail / tail[0]).sum() if tail[-1] > tail[0] else np.nan
        model = 1 - (tail / tail[0]) ** (1 - exponent)
        distance = np.abs(model - np.arange(len(tail)) / len(tail)).max()
        if distance < best:
            best, answer = distance, float(exponent)
    return answer


def data_scores(
    model: Any,
    windows: torch.Tensor,
    sites: Mapping[str, Site],
    errors: Mapping[str, torch.Tensor],
    int8_errors: Mapping[str, torch.Tensor],
    *,
    batch: int = 8,
) -> dict[str, dict[str, list[float]]]:
    """What needs a text: modelopt's gradient score, AutoScheme's, NNCF's, imatrix's, the output error.

    `errors[name]` is (formats, out, in); the answer has one number for each format.
    """
    sums: dict[str, dict[str, Any]] = {
        name: {"modelopt": 0.0, "slope": 0.0, "squares": 0.0, "moved": 0.0, "output": 0.0} for name in sites
    }
    for start in range(0, len(windows), batch):
        _accumulate(model, windows[start : start + batch], sites, errors, sums)
    found: dict[str, dict[str, list[float]]] = {}
    for name, total in sums.items():
        mean_square = total["squares"] / windows[:, :-1].numel()
        hawq = 2 * float(mean_square.mean()) * float(torch.linalg.vector_norm(int8_errors[name]))
        weighted = (errors[name] ** 2).sum(1).double() @ mean_square
        found[name] = {
            "modelopt gradient": total["modelopt"].tolist(),
            "AutoScheme": (total["slope"] * errors[name]).abs().sum((1, 2)).tolist(),
            "NNCF with data": [hawq] * len(errors[name]),
            "imatrix squared error": weighted.tolist(),
            "relative output error": (total["moved"] / total["output"]).sqrt().tolist(),
        }
    return found


def _accumulate(
    model: Any,
    windows: torch.Tensor,
    sites: Mapping[str, Site],
    errors: Mapping[str, torch.Tensor],
    sums: dict[str, dict[str, Any]],
) -> None:
    inputs, targets = windows[:, :-1], windows[:, 1:]
    with frozen(model), recorded(sites.values(), inputs) as runs:
        logits = model(inputs)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    every = [run for each in runs.values() for run in each]
    for run, gradient in zip(every, torch.autograd.grad(loss, [run.output for run in every]), strict=True):
        run.gradients.append(gradient)
    with torch.no_grad():
        for name, site in sites.items():
            for run in runs[site.modules[0]]:
                x, own, total = (
                    run.input,
                    site.part(run.gradients[0]).reshape(len(windows), -1, site.shape[0]),
                    sums[name],
                )
                moved = torch.einsum("bsi,foi->fbso", x, errors[name])
                total["modelopt"] += ((own * moved) ** 2).sum((1, 2, 3)).double()
                total["slope"] += torch.einsum("bso,bsi->oi", own, x)
                total["squares"] += (x.double() ** 2).sum((0, 1))
                total["moved"] += (moved**2).sum((1, 2, 3)).double()
                total["output"] += ((x @ site.weight.T) ** 2).sum().double()
