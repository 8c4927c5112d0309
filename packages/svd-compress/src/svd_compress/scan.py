"""The scan of a model: every step from the checkpoint to the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mfi_command import BadInput
from svd_compress.allocation import Layout
from svd_compress.bench import Bench, Progress
from svd_compress.compression import OTHER_DOMAIN, measured, open_bench
from svd_compress.latency import alignment, device_name
from svd_compress.loss_store import LossStore
from svd_compress.lowrank import break_even_rank
from svd_compress.matrices import Float64
from svd_compress.pages import Scan
from svd_compress.scanning import KEEPS, layer_lines, pareto, reached, scan
from svd_compress.sources import source_warnings
from svd_compress.texts import other_text, two_texts


def scan_model(
    model: str | Path,
    *,
    calibration: str | Path = "reference:calibration",
    evaluate: str | Path = "reference:in-domain",
    other_domain: str | Path = OTHER_DOMAIN,
    keeps: Sequence[float] = KEEPS,
    recommend: float = 0.9,
    layer: str = "*",
    layout: Layout = "pivoted",
    faster_at: int = 256,
    measure_layers: int = 8,
    context: int = 256,
    calibration_tokens: int = 8192,
    evaluation_tokens: int | None = 2048,
    device: str = "cpu",
    executor: str = "serial",
    work: str | Path | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Scan:
    """Size, measured latency and measured perplexity of the best plan at each share of parameters.

    Parameters
    ----------
    model, calibration, evaluate, other_domain, layer, layout, context, calibration_tokens, evaluation_tokens,
    \
device, executor, seed
        As for `compress`.
    keeps
        Shares of the selected layers' parameters to measure; those out of reach are left out, and named.
    recommend
        The share whose plan is told layer by layer; the nearest measured one.
    faster_at
        Tokens of a forward pass that latencies are measured for; only ranks measured to be faster than dense
        are offered. 0 measures no latency and offers all.
    measure_layers
        How many layers' rise is measured one at a time; the others' is predicted, with the interval that the
        measured ones give.
    work
        Folder for finished layers, latencies and measured losses; a second call measures what is missing.
    on_progress
        Called with (stage, done, total).

    Raises
    ------
    BadInput
        If the model, a text or an option cannot be used, or none of the shares is within reach.
    """
    if bad := [keep for keep in keeps if not 0 < keep < 1]:
        raise BadInput(f"--keep is {bad[0]}; shares between 0 and 1 are expected, such as 0.9,0.8")
    if faster_at < 0 or measure_layers < 0:
        raise BadInput("--faster-at and --measure-layers count tokens and layers: 0 or more is expected")
    texts = two_texts(calibration, evaluate)
    bench = open_bench(
        model,
        texts,
        other_text(other_domain, calibration, evaluate),
        layer=layer,
        layout=layout,
        context=context,
        tokens=(calibration_tokens, evaluation_tokens),
        device=device,
        progress=on_progress,
    )
    step = alignment(device) if faster_at else 8
    folder = None if work is None else Path(work)
    layers = None if folder is None else folder / "layers"
    bench.prepare(multiple=step, min_saving=0.0, seed=seed, executor=executor, work=layers)
    rows = measured(bench, faster_at, step, device, folder)
    losses = LossStore(bench, seed=seed, work=folder)
    points = scan(bench, keeps, rows, losses)
    told = min(points[1:] or points, key=lambda point: abs(point.keep - recommend))
    lines = layer_lines(
        bench,
        told.plan,
        {(row.shape, row.rank): row.speed_up for row in rows},
        measure=measure_layers,
        losses=losses,
    )
    return Scan(
        points=points,
        front=pareto(points),
        lines=lines,
        spectra=_spectra(bench),
        latencies=rows,
        tokens=faster_at,
        device=device_name(device),
        layout=layout,
        recommended=told.keep,
        left_out=sorted(set(keeps) - set(reached(bench, keeps))),
        warnings=source_warnings(bench.checkpoint),
    )


def _spectra(bench: Bench) -> dict[str, tuple[Float64, int]]:
    out = {}
    for name in bench.dense:
        layer = bench.prepared[name]
        energies = layer.factors.energies.numpy()
        values = np.sqrt(energies / (energies[0] or 1.0))
        out[name] = (values, break_even_rank(*layer.shape))
    return out
