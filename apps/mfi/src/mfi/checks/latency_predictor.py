"""The latency model on committed measurements of models that its fit never saw."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi.checks.registry import Outcome, Skip, check

if TYPE_CHECKING:
    from latency_predictor.accuracy import Judged
    from latency_predictor.device_fit import DeviceFit
    from roofline import Device

RESULTS = Path(__file__).parents[5] / "packages" / "latency-predictor" / "benchmarks" / "results"
STACK = "cuda-graph"
# A line in the number of sequences ends where their cache costs as much as the weights.
_LINE_UP_TO = 64
_NEAR = 0.05
_SMALLER = ("opt-1.3b", "opt-2.7b", "opt-6.7b", "opt-13b")
_A100 = "A100-SXM4-80GB"
# Prefill of OPT-30B on one A100-80GB by FasterTransformer, fp16, batch 1: prompt, milliseconds; read off
# figure 9 of Xiao et al. 2023, SmoothQuant. Nothing was fitted on it.
PUBLISHED_MS = ((128, 59.0), (256, 98.0), (512, 186.0), (1024, 380.0))


@cache
def _recorded() -> tuple[dict[str, Any], Device, DeviceFit]:
    """The file, its device, and that device's operators fitted on the products and kernels in it, and on the
    rate that products keep.
    """
    from latency_predictor.accuracy import own_operators
    from latency_predictor.fitting.own import read_collected
    from roofline import device

    path = RESULTS / "h200.json"
    if not path.is_file():
        raise Skip("needs the repository's benchmark results")
    content, here = read_collected(path), device("H200")
    return content, here, own_operators(content, here)


@cache
def _unseen() -> Judged:
    from latency_predictor.accuracy import unseen_models

    content, here, fit = _recorded()
    return unseen_models(content, STACK, device=here, fit=fit)


def _where(content: dict[str, Any]) -> str:
    return f"{content['device']}, {content['date']}, torch {content['versions']['torch']} [recorded]"


@check(
    "w25-latency",
    title="The latency model fitted on real measurements, the linear baseline beside it [recorded]",
    bound=f"R^2 > 0.85 (linear, decode steps of up to {_LINE_UP_TO} sequences), > 0.99 (ours, all passes)",
)
def latency_model() -> Outcome:
    """R^2 of both on at least 100 passes; ours on models whose family was left out of the fit."""
    from latency_predictor import fit as fit_line

    content, _, _ = _recorded()
    judged = _unseen()
    steps = [row for row in judged.rows if row.phase == "decode"]

    def line(rows: list[Any]) -> Any:
        return fit_line([
            {"model": row.model, "batch": row.batch, "prompt": row.positions, "latency_s": row.seconds}
            for row in rows
        ])  # fmt: skip

    near, every = line([row for row in steps if row.batch <= _LINE_UP_TO]), line(steps)
    passed = near.rows >= 100 and len(judged.rows) >= 100 and near.r2 > 0.85 and judged.r2 > 0.99
    return Outcome(
        {"linear": round(near.r2, 4), "ours": round(judged.r2, 5)},
        passed,
        f"linear on {near.rows} decode steps (with more sequences the cache outweighs the weights, and lines"
        f" bend), off by {near.held_out_median_ape:.0%} in the median and"
        f" {near.held_out_worst_ape:.0%} at worst on models left out (R^2 {every.r2:.2f} on all"
        f" {every.rows}); ours on {len(judged.rows)} passes of families left out, off by"
        f" {np.median(judged.errors):.1%}; {_where(content)}",
    )


@check(
    "w27-unseen",
    title="Latency of models that the fit never saw [recorded]",
    bound="median < 5 %, worst < 15 %",
    unit="%",
)
def unseen() -> Outcome:
    """Every pass of the graph stack, its family of models left out of the stack's fit."""
    content, _, _ = _recorded()
    judged = _unseen()
    median, worst = 100 * float(np.median(judged.errors)), 100 * float(judged.errors.max())
    models = len({row.model for row in judged.rows})
    return Outcome(
        {"median": round(median, 2), "worst": round(worst, 2)},
        len(judged.rows) >= 10 and median < 5 and worst < 15,
        f"{len(judged.rows)} configurations of {models} models; {_where(content)}",
    )


@check(
    "w28-opt30b",
    title="OPT-30B from a fit on smaller models: decode on an H200, prefill on an A100 [recorded]",
    bound="decode < 10 ms absolute (aim 3 ms); prefill < max(10 ms, 5 %)",
    unit="ms",
)
def opt_30b() -> Outcome:
    """Decode steps measured on an H200 by a fit on OPT up to 13B; published prefill on an A100 by a scalar of
    13B.
    """
    from latency_predictor import predict
    from latency_predictor.accuracy import by_split

    content, here, fit = _recorded()
    judged = by_split(
        content,
        STACK,
        device=here,
        fit=fit,
        seen=lambda row: row.model in _SMALLER,
        judged=lambda row: row.model == "opt-30b" and row.phase == "decode",
    )
    off_ms = 1e3 * float(np.abs(judged.predicted - judged.measured).max())
    prefill = {
        prompt: 1e3
        * predict(
            "opt-30b", device=_A100, prompt=prompt, output=1, stack="fastertransformer", dtype="fp16"
        ).prefill_s
        for prompt, _ in PUBLISHED_MS
    }
    late = {prompt: prefill[prompt] - published for prompt, published in PUBLISHED_MS}
    kept = all(abs(late[prompt]) < max(10.0, 0.05 * published) for prompt, published in PUBLISHED_MS)
    return Outcome(
        {
            "decode": round(off_ms, 2),
            "prefill": {str(key): round(ms, 1) for key, ms in late.items()},
        },
        len(judged.rows) > 0 and off_ms < 10 and kept,
        f"{len(judged.rows)} decode steps on {_where(content)}, at most {off_ms:.2f} ms off;"
        " prefill on an A100 against SmoothQuant's figure 9 (FasterTransformer), one scalar from four rows"
        " of OPT-13B",
    )


@check(
    "w28-batch",
    title="Advised batch under a limit on the decode step against every batch measured [recorded]",
    bound="tokens/s within 5 % of the best at every limit",
    unit="share of the best",
)
def advised_batch() -> Outcome:
    """Limits spread over the steps of two models, each advised by a stack fitted on the other families."""
    from latency_predictor.accuracy import batch_regrets

    content, here, fit = _recorded()
    found = batch_regrets(content, device=here, fit=fit)
    near = sum(one.share >= 1 - _NEAR for one in found)
    over = sum(one.share > 1 for one in found)
    models = sorted({one.model for one in found})
    return Outcome(
        round(min(one.share for one in found), 3),
        len(found) > 0 and near == len(found),
        f"{near} of {len(found)} limits of {', '.join(models)}; {over} advised steps are above their limit by"
        f" up to {_NEAR:.0%}, more would count as nothing; {_where(content)}",
    )
