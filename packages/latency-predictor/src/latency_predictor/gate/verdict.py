"""Whether each model stays within its budget, and by how much it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from latency_predictor.answer import Prediction
from latency_predictor.gate.gatefile import Entry

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


# What the accepted values hold, and its words.
ACCEPTED = {"prefill_s": "prefill", "decode_step_s": "a decode step", "total_s": "the request"}


@dataclass(frozen=True)
class Verdict:
    """One entry, its prediction in seconds, the accepted values (None if there were none), and a sentence for
    each limit that it is over.
    """

    entry: Entry
    prefill_s: float
    decode_step_s: float
    total_s: float
    low_s: float
    high_s: float
    accepted: Mapping[str, float] | None
    over: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        fields = {key: value for key, value in asdict(self).items() if key not in ("entry", "accepted")}
        accepted = None if self.accepted is None else dict(self.accepted)
        return {**asdict(self.entry), **fields, "accepted": accepted, "over": list(self.over)}

    def growth(self, name: str = "total_s") -> float | None:
        """By how much a value of `ACCEPTED` grew over the accepted one, as a ratio minus one."""
        if self.accepted is None or name not in self.accepted:
            return None
        return float(getattr(self, name)) / self.accepted[name] - 1


def judge(
    entries: Sequence[Entry],
    *,
    accepted: Mapping[str, Mapping[str, float]] | None = None,
    cautious: bool = False,
    predict: Predict | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Verdict]:
    """Predict every entry and compare it with its limits.

    Parameters
    ----------
    entries
        From `read_gate`.
    accepted
        From `read_accepted`: what each entry took when it was last accepted.
    cautious
        Compare the upper ends of the intervals with the budgets, so that a model passes only where the
        prediction is sure.
    predict
        `latency_predictor.predict` by default.
    on_progress
        Called with (done, total) after each entry.
    """
    if predict is None:
        from latency_predictor.prediction import predict as predictor

        predict = predictor
    verdicts = []
    for number, entry in enumerate(entries, 1):
        answer = predict(
            entry.model,
            device=entry.device,
            batch=entry.batch,
            prompt=entry.prompt,
            output=entry.output,
            tensor_parallel=entry.tensor_parallel,
            **entry.options,
        )
        verdicts.append(_verdict(entry, answer, (accepted or {}).get(entry.name), cautious=cautious))
        if on_progress is not None:
            on_progress(number, len(entries))
    return verdicts


def _verdict(
    entry: Entry, answer: Prediction, before: Mapping[str, float] | None, *, cautious: bool
) -> Verdict:
    word = "up to " if cautious else ""
    over = []
    for budget, (what, estimate, upper) in LIMITED.items():
        if budget in entry.budgets:
            taken_ms = 1e3 * (upper if cautious else estimate)(answer)
            if not taken_ms <= entry.budgets[budget]:  # a NaN is over every budget
                over.append(f"{what} takes {word}{taken_ms:.4g} ms, {budget} is {entry.budgets[budget]:.4g}")
    growth = entry.budgets.get("max_growth_percent")
    if growth is not None and before is not None:
        for name, what in ACCEPTED.items():
            grown = 100 * (getattr(answer, name) / before[name] - 1)
            if not grown <= growth:
                over.append(
                    f"{what} takes {grown:.1f} % longer than the accepted {1e3 * before[name]:.4g} ms,"
                    f" max_growth_percent is {growth:.4g}"
                )
    return Verdict(
        entry=entry,
        prefill_s=answer.prefill_s,
        decode_step_s=answer.decode_step_s,
        total_s=answer.total_s,
        low_s=answer.low_s,
        high_s=answer.high_s,
        accepted=before,
        over=tuple(over),
    )
