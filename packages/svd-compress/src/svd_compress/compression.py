"""From a checkpoint and a budget to a smaller checkpoint, or to the answer that none fits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from mfi_command import BadInput
from svd_compress.allocation import Plan, within
from svd_compress.answers import answer
from svd_compress.bench import Bench, Progress
from svd_compress.evaluation import Losses, Rise, paired_rise
from svd_compress.folder import write_folder
from svd_compress.matrices import smallest_rank
from svd_compress.results import Compression
from svd_compress.search import smallest_under
from svd_compress.texts import two_texts

# Measurements at most: on a part of the calibration text, and on the evaluation text. Few of the latter,
# for each look at it makes its interval a little too short.
PROBES, CHECKS = 5, 4


def compress(
    model: str | Path,
    *,
    calibration: str | Path,
    evaluate: str | Path,
    output: str | Path | None = None,
    max_ppl_rise: float | None = None,
    keep: float | None = None,
    energy: float | None = None,
    layer: str = "*",
    multiple: int = 8,
    min_saving: float = 0.2,
    context: int = 256,
    calibration_tokens: int = 12288,
    evaluation_tokens: int | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Compression:
    r"""Replace linear layers by two thin factors, as many and as thin as a budget allows.

    Each layer is truncated where its outputs, weighed by the gradients of the loss, change least
    (`svd_compress.whitening`); the tail of that spectrum predicts what a rank costs, and the ranks of all
    layers are chosen together to cost least for their size (`svd_compress.allocation`). A perplexity budget
    is met by measurement: the search runs on calibration text that the factors did not see, the
    evaluation text confirms its answer, and the whole 95 % interval of the rise must lie under the budget.

    Parameters
    ----------
    model
        MODEL of checkpoint_lens: a folder, a file, or "reference".
    calibration, evaluate
        Text files (UTF-8), or "reference:KIND". They must be different texts.
    output
        Folder to write; it must be new or empty. None measures and writes nothing.
    max_ppl_rise, keep, energy
        Exactly one. The largest rise of the perplexity on the evaluation text; or the share of the selected
        layers' parameters to keep, at most; or the share of the whitened energy that each factored
        layer keeps at least.
    layer
        Glob of layer names. An untied output head always stays dense.
    multiple, min_saving
        Ranks are multiples of `multiple` that save at least the share `min_saving` of their layer; a layer
        with no such rank stays dense.
    context, calibration_tokens, evaluation_tokens
        Window length, and how much of the texts is read (None: all), in tokens.
    seed
        Of the labels drawn for the gradients.
    on_progress
        Called with (stage, done, total).

    Returns
    -------
    Compression
        Cost: one forward and backward pass over three quarters of the calibration tokens, O(in^3 + out^3)
        a layer, and at most 6 forward passes over the rest and 5 over the evaluation text.

    Raises
    ------
    BadInput
        If the model, a text or an option cannot be used. An infeasible budget is an answer, not an error.
    """
    from checkpoint_lens import load_model, open_checkpoint

    _check_options(max_ppl_rise=max_ppl_rise, keep=keep, energy=energy)
    _check_shape_options(multiple=multiple, min_saving=min_saving)
    if output is not None:
        _check_output(Path(output))
    calibration_text, evaluation_text = two_texts(calibration, evaluate)
    checkpoint = open_checkpoint(model)
    bench = Bench(
        load_model(model),
        checkpoint,
        layer=layer,
        texts=(calibration_text, evaluation_text),
        context=context,
        tokens=(calibration_tokens, evaluation_tokens),
        progress=on_progress or (lambda stage, done, total: None),
    )
    bench.prepare(multiple=multiple, min_saving=min_saving, seed=seed)
    before = bench.measure(bench.plans[0], bench.judge, "perplexity before")
    if max_ppl_rise is not None:
        plan, rise = _by_rise(bench, before, max_ppl_rise)
    elif keep is not None:
        plan, rise = _judged(bench, before, within(bench.plans, keep * bench.plans[0].parameters))
    else:
        plan, rise = _judged(bench, before, _by_energy(bench, energy or 1.0))
    result = answer(bench, before, plan, rise, budget=max_ppl_rise)
    if output is None or not result.feasible:
        return result
    written = write_folder(output, bench.checkpoint, bench.factors(plan), result.manifest())
    return replace(result, bytes_after=written, output=Path(output))


def _check_options(**choices: float | None) -> None:
    given = {name: value for name, value in choices.items() if value is not None}
    if len(given) != 1:
        raise BadInput("give exactly one of --max-ppl-rise, --keep and --energy")
    name, value = next(iter(given.items()))
    option = "--" + name.replace("_", "-")
    if name == "max_ppl_rise":
        if not (math.isfinite(value) and value > 0):
            raise BadInput(f"{option} is {value}; a finite number above 0 is expected, such as 1.0")
    elif not 0 < value < 1:
        raise BadInput(f"{option} is {value}; a share between 0 and 1 is expected, such as 0.9")


def _check_shape_options(*, multiple: int, min_saving: float) -> None:
    if multiple < 1:
        raise BadInput(f"--multiple is {multiple}; a whole number from 1 is expected, such as 8")
    if not 0 <= min_saving < 1:
        raise BadInput(f"--min-saving is {min_saving}; a share from 0 to below 1 is expected, such as 0.2")


def _check_output(output: Path) -> None:
    """Before minutes of work, what `atomic_directory` would say after them."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BadInput(f"cannot write {output}: it exists and is not an empty folder; name a new one")
    if not output.parent.is_dir():
        raise BadInput(f"cannot write {output}: there is no folder {output.parent}; make it first")


def _judged(bench: Bench, before: Losses, plan: Plan) -> tuple[Plan, Rise]:
    return plan, paired_rise(before, bench.measure(plan, bench.judge, "perplexity after"))


def _by_rise(bench: Bench, before: Losses, budget: float) -> tuple[Plan, Rise | None]:
    """Search on calibration text, then let the evaluation text confirm the answer or move it a little."""
    searched = bench.measure(bench.plans[0], bench.search, "search")
    found = smallest_under(
        bench.plans,
        lambda index: paired_rise(searched, bench.measure(bench.plans[index], bench.search, "search")),
        budget,
        before=searched.perplexity,
        value=lambda rise: rise.rise,
        probes=PROBES,
    )
    verified: dict[int, Rise] = {}

    def verify(index: int) -> Rise:
        verified[index] = _judged(bench, before, bench.plans[index])[1]
        return verified[index]

    index = smallest_under(
        bench.plans,
        verify,
        budget,
        before=before.perplexity,
        value=lambda rise: rise.high,
        probes=CHECKS,
        start=max(found, 1),
    )
    gentlest = min(verified.values(), key=lambda rise: rise.rise, default=None)
    return bench.plans[index], verified.get(index, gentlest)


def _by_energy(bench: Bench, energy: float) -> Plan:
    """In each layer the smallest allowed rank that keeps the share of whitened energy, else dense."""
    ranks: dict[str, int | None] = {}
    chosen = []
    for name, choices in bench.options.items():
        least = smallest_rank(bench.prepared[name].factors.energies, energy)
        enough = [option for option in choices if option.rank is None or option.rank >= least]
        best = min(enough, key=lambda option: option.parameters)
        ranks[name] = best.rank
        chosen.append(best)
    return Plan(ranks, sum(o.parameters for o in chosen), sum(o.loss for o in chosen))
