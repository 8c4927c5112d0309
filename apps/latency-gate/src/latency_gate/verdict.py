"""Whether each model stays within its budget, and by how much it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from latency_gate.gatefile import Entry


class Phase(Protocol):
    """The part of a prediction that has an interval of its own."""

    @property
    def high_s(self) -> float: ...


class Prediction(Protocol):
    """What latency-predictor answers, as far as the gate reads it."""

    @property
    def prefill(self) -> Phase: ...
    @property
    def decode(self) -> Phase: ...
    @property
    def prefill_s(self) -> float: ...
    @property
    def decode_step_s(self) -> float: ...
    @property
    def total_s(self) -> float: ...
    @property
    def low_s(self) -> float: ...
    @property
    def high_s(self) -> float: ...


Predict = Callable[..., Prediction]

# What each budget limits: its words, the estimate, and the upper end of the interval.
LIMITED: dict[str, tuple[str, Callable[[Prediction], float], Callable[[Prediction], float]]] = {
    "max_prefill_ms": ("prefill", lambda answer: answer.prefill_s, lambda answer: answer.prefill.high_s),
    "max_decode_ms": (
        "a decode step",
        lambda answer: answer.decode_step_s,
        lambda answer: answer.decode.high_s,
    ),
    "max_ms": ("the request", lambda answer: answer.total_s, lambda answer: answer.high_s),
}


@dataclass(frozen=True)
class Verdict:
    """One entry, its prediction in seconds, and a sentence for each budget that it is over."""

    entry: Entry
    prefill_s: float
    decode_step_s: float
    total_s: float
    low_s: float
    high_s: float
    over: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        fields = {key: value for key, value in asdict(self).items() if key != "entry"}
        return {**asdict(self.entry), **fields, "over": list(self.over)}


def judge(
    entries: Sequence[Entry],
    *,
    cautious: bool = False,
    predict: Predict | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Verdict]:
    """Predict every entry and compare it with its budgets.

    Parameters
    ----------
    entries
        From `read_gate`.
    cautious
        Compare the upper ends of the intervals with the budgets, so that a model passes only where the
        prediction is sure.
    predict
        `latency_predictor.predict` by default.
    on_progress
        Called with (done, total) after each entry.
    """
    if predict is None:
        from latency_predictor import predict as predictor

        predict = predictor
    verdicts = []
    for number, entry in enumerate(entries, 1):
        answer = predict(
            entry.model,
            device=entry.device,
            batch=entry.batch,
            prompt=entry.prompt,
            output=entry.output,
            **entry.options,
        )
        verdicts.append(_verdict(entry, answer, cautious=cautious))
        if on_progress is not None:
            on_progress(number, len(entries))
    return verdicts


def _verdict(entry: Entry, answer: Prediction, *, cautious: bool) -> Verdict:
    word = "up to " if cautious else ""
    over = []
    for budget, limit_ms in entry.budgets_ms.items():
        what, estimate, upper = LIMITED[budget]
        taken_ms = 1e3 * (upper if cautious else estimate)(answer)
        if not taken_ms <= limit_ms:  # a NaN is over every budget
            over.append(f"{what} takes {word}{taken_ms:.4g} ms, {budget} is {limit_ms:.4g}")
    return Verdict(
        entry=entry,
        prefill_s=answer.prefill_s,
        decode_step_s=answer.decode_step_s,
        total_s=answer.total_s,
        low_s=answer.low_s,
        high_s=answer.high_s,
        over=tuple(over),
    )


def changes(verdicts: Sequence[Verdict], base: Sequence[Verdict]) -> dict[str, float]:
    """By how much each entry's total grew since `base`, as a ratio minus one; new entries are left out."""
    before: Mapping[str, float] = {verdict.entry.name: verdict.total_s for verdict in base}
    return {
        verdict.entry.name: verdict.total_s / before[verdict.entry.name] - 1
        for verdict in verdicts
        if verdict.entry.name in before
    }
