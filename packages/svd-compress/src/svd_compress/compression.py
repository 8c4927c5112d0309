"""From a checkpoint and a budget to a smaller checkpoint, or to the answer that none fits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfi_command import BadInput
from mfi_command.executors import JsonFolder
from svd_compress.allocation import Layout, Plan
from svd_compress.answers import Proof, answer
from svd_compress.bench import Bench, Progress, Texts
from svd_compress.evaluation import Rise, paired_rise
from svd_compress.folder import Factors, write_folder
from svd_compress.goals import Goal, choose
from svd_compress.latency import LatencyRow, alignment
from svd_compress.latency_table import default_tokens, only_faster, table
from svd_compress.results import Compression
from svd_compress.texts import fit_and_search, other_text, spread_windows, two_texts

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM

OTHER_DOMAIN = "reference:out-of-domain"


@dataclass(frozen=True)
class Means:
    """How the factors of a plan are made.

    Attributes
    ----------
    refine
        Fit them again block by block, and keep that where it measures better on the search windows.
    heal_minutes
        Train them for so long, and keep that where it measures better too; 0 for not at all.
    seed
        Of labels and batches.
    """

    refine: bool = False
    heal_minutes: float = 0.0
    seed: int = 0


def compress(
    model: str | Path,
    *,
    calibration: str | Path,
    evaluate: str | Path,
    other_domain: str | Path | None = None,
    output: str | Path | None = None,
    max_ppl_rise: float | None = None,
    keep: float | None = None,
    energy: float | None = None,
    max_bytes: int | None = None,
    speed_up: float | None = None,
    layer: str = "*",
    layout: Layout = "pivoted",
    multiple: int | None = None,
    min_saving: float = 0.05,
    faster_at: int | None = None,
    refine: bool = False,
    heal_minutes: float = 0.0,
    fold: bool = False,
    context: int = 256,
    calibration_tokens: int = 12288,
    evaluation_tokens: int | None = None,
    device: str = "cpu",
    executor: str = "serial",
    work: str | Path | None = None,
    memory_bytes: int | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Compression:
    r"""Replace linear layers by two thin factors, as many and as thin as a budget allows.

    Each layer is truncated where its outputs, weighed by the gradients of the loss, change least
    (`svd_compress.factoring`); the tail of that spectrum predicts what a rank costs, and the ranks of all
    layers are chosen together to cost least for their size (`svd_compress.allocation`). A perplexity budget
    is met by measurement: the search runs on calibration text that the factors did not see, the
    evaluation text confirms its answer, and the whole 95 % interval of the rise must lie under the budget.

    Parameters
    ----------
    model
        MODEL of checkpoint_lens: a folder, a file, or "reference".
    calibration, evaluate, other_domain
        Text files (UTF-8), or "reference:KIND". They must be different texts; the last is of another domain
        and only shown.
    output
        Folder to write; it must be new or empty. None measures and writes nothing.
    max_ppl_rise, keep, energy, max_bytes, speed_up
        Exactly one. The largest rise of the perplexity on the evaluation text; or the share of the selected
        layers' parameters to keep, at most; or the share of the whitened energy that each factored
        layer keeps at least; or the bytes of all weights, at most; or how much faster the selected layers
        together are to be, by measurement (needs `faster_at`).
    layer
        Glob of layer names. An untied output head always stays dense.
    layout
        "pivoted": the redundant block of the two factors is not stored, and every rank below min(out, in)
        saves; or "two" full factors.
    multiple, min_saving
        Ranks are multiples of `multiple` (by default what the device likes) that save at least the share
        `min_saving` of their layer; a layer with no such rank stays dense.
    faster_at
        Tokens in a forward pass, such as 1 for a decode step, at which every factored layer has to be
        measured to be faster than dense; 0 measures nothing. By default what
        `latency_table.default_tokens` says: 1 on a GPU, on a CPU that of its kept table, if there is one.
    refine, heal_minutes
        See `Means`.
    fold
        Write the products as dense weights.
    context, calibration_tokens, evaluation_tokens
        Window length, and how much of the texts is read (None: all), in tokens.
    device
        Where the model runs, as torch names it.
    executor, work, memory_bytes
        See `preparation.prepare`.
    seed
        Of the labels drawn for the gradients.
    on_progress
        Called with (stage, done, total).

    Returns
    -------
    Compression
        Cost: one forward and backward pass over three quarters of the calibration tokens, O(min(out, in)^3)
        a layer, and at most 6 forward passes over the rest and 5 over the evaluation text.

    Raises
    ------
    BadInput
        If the model, a text or an option cannot be used. An infeasible budget is an answer, not an error.
    """
    goal = Goal(max_ppl_rise, keep, energy, max_bytes, speed_up)
    if faster_at is None:
        faster_at = default_tokens(device)
    goal.check(faster_at=faster_at)
    _check_options(multiple=multiple, min_saving=min_saving, heal_minutes=heal_minutes, faster_at=faster_at)
    if output is not None:
        _check_output(Path(output))
    texts = two_texts(calibration, evaluate)
    beside = None if other_domain is None else other_text(other_domain, calibration, evaluate)
    bench = open_bench(
        model,
        texts,
        beside,
        layer=layer,
        layout=layout,
        context=context,
        tokens=(calibration_tokens, evaluation_tokens),
        device=device,
        progress=on_progress,
    )
    step = multiple or (alignment(device) if faster_at else 8)
    bench.prepare(
        multiple=step,
        min_saving=min_saving,
        seed=seed,
        work=None if work is None else Path(work),
        memory_bytes=memory_bytes,
        executor=executor,
        keep_gradients=refine,
    )
    rows = measured(bench, faster_at, step, device, None if work is None else Path(work))
    before = bench.measure({}, bench.texts.judge, "perplexity before")
    means = Means(refine, heal_minutes, seed)
    proof = choose(
        bench, goal, before, lambda plan: realised(bench, plan, means), rows, healing=heal_minutes > 0
    )
    other = _beside(bench, proof)
    result = answer(
        bench,
        before,
        proof,
        other,
        budget=max_ppl_rise,
        speeds={(row.shape, row.rank): row.speed_up for row in rows},
        faster_at=faster_at,
    )
    if output is None or not result.feasible:
        return result
    written = write_folder(output, bench.checkpoint, proof.factors, result.manifest(), fold=fold)
    return replace(result, bytes_after=written, output=Path(output))


def open_bench(
    model: str | Path,
    texts: tuple[str, str],
    other: str | None,
    *,
    layer: str,
    layout: Layout,
    context: int,
    tokens: tuple[int, int | None],
    device: str = "cpu",
    progress: Progress | None = None,
) -> Bench:
    """A model on the bench with its windows of text."""
    from checkpoint_lens import load_model, open_checkpoint

    if layout not in ("two", "pivoted"):
        raise BadInput(f"--layout is {layout}; two or pivoted is expected")
    checkpoint = open_checkpoint(model)
    loaded: CausalLM = _on(load_model(model), device)
    fit, search, train = fit_and_search(loaded, texts[0], context=context, max_tokens=tokens[0])
    judge = spread_windows(loaded, texts[1], context=context, max_tokens=tokens[1])
    beside = [] if other is None else spread_windows(loaded, other, context=context, max_tokens=tokens[1])
    return Bench(
        loaded,
        checkpoint,
        layer=layer,
        texts=Texts(fit, search, judge, beside, train),
        layout=layout,
        progress=progress or (lambda stage, done, total: None),
    )


def _on(model: CausalLM, device: str) -> CausalLM:
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise BadInput(f"--device is {device}; cpu or cuda is expected") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device is cuda and no CUDA device is here; use cpu")
    return model.to(device)


def measured(
    bench: Bench, faster_at: int, multiple: int, device: str, work: Path | None = None
) -> list[LatencyRow]:
    """Time every shape at the number of tokens, and offer only ranks that were measured to be faster."""
    if not faster_at:
        return []
    shapes = [bench.prepared[name].shape for name in bench.options]
    dtype = "float32" if device == "cpu" else "bfloat16"
    rows = table(
        shapes,
        faster_at,
        layout=bench.layout,
        device=device,
        dtype=dtype,
        multiple=multiple,
        store=None if work is None else JsonFolder(work / "latency"),
        on_progress=lambda done, total: bench.progress("latency", done, total),
    )
    bench.offer(
        {
            name: only_faster(bench.prepared[name].shape, options, rows)
            for name, options in bench.options.items()
        }
    )
    return rows


def realised(bench: Bench, plan: Plan, means: Means) -> Proof:
    """The factors of a plan by the means asked for, each kept only where it measures better."""
    factors, refined, minutes = bench.factors(plan), False, 0.0
    if means.refine and factors:
        again = bench.refined(plan)
        if _better(bench, again, factors, "refinement checked"):
            factors, refined = again, True
    if means.heal_minutes and factors:
        healed = bench.healed(factors, minutes=means.heal_minutes, seed=means.seed)
        if _better(bench, healed, factors, "healing checked"):
            factors, minutes = healed, means.heal_minutes
    return Proof(plan, factors, None, refined=refined, healed_minutes=minutes)


def _better(bench: Bench, new: Mapping[str, Factors], old: Mapping[str, Factors], stage: str) -> bool:
    """On the calibration windows that no factor was fitted to or trained on."""
    first, second = (bench.measure(factors, bench.texts.search, stage).loss for factors in (new, old))
    return first < second


def _beside(bench: Bench, proof: Proof) -> Rise | None:
    if not bench.texts.other or not proof.factors:
        return None
    before = bench.measure({}, bench.texts.other, "other domain")
    return paired_rise(before, bench.measure(proof.factors, bench.texts.other, "other domain"))


def _check_options(*, multiple: int | None, min_saving: float, heal_minutes: float, faster_at: int) -> None:
    if multiple is not None and multiple < 1:
        raise BadInput(f"--multiple is {multiple}; a whole number from 1 is expected, such as 8")
    if not 0 <= min_saving < 1:
        raise BadInput(f"--min-saving is {min_saving}; a share from 0 to below 1 is expected, such as 0.2")
    if not (math.isfinite(heal_minutes) and heal_minutes >= 0):
        raise BadInput(f"--heal is {heal_minutes}; minutes from 0 are expected, such as 5")
    if faster_at < 0:
        raise BadInput(f"--faster-at is {faster_at}; a number of tokens is expected, or 0 for no measuring")


def _check_output(output: Path) -> None:
    """Before minutes of work, what `atomic_directory` would say after them."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BadInput(f"cannot write {output}: it exists and is not an empty folder; name a new one")
    if not output.parent.is_dir():
        raise BadInput(f"cannot write {output}: there is no folder {output.parent}; make it first")
