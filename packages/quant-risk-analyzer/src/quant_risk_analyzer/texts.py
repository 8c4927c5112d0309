"""Token sequences to run the model on: random ids, the model's own samples, or windows of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfi_command import BadInput
from quant_risk_analyzer.models import device_of
from quant_risk_analyzer.sites import linear_sites

if TYPE_CHECKING:
    import torch

FLOATS_AT_ONCE = 2**23  # probabilities held for one batch, 32 MiB
CACHED_AT_ONCE = 2**27  # keys and values held, at most 512 MiB
RUN = 8  # words: a run that two texts share by copying, hardly by chance
SHARED = 0.1  # part of the runs of an evaluation text that the calibration text may hold


def random_windows(vocab_size: int, *, windows: int, length: int, seed: int) -> torch.Tensor:
    """Uniform random token ids, int64 (windows, length)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab_size, (windows, length), generator=generator)


def windows_to_run(
    model: Any, calibration: str | None, *, tokens: int, context: int, rounds: int, seed: int
) -> tuple[torch.Tensor, str]:
    """Windows of the calibration text, else of the model's own samples; with the name of that tier."""
    count = max(1, tokens // context)
    if calibration is not None:
        ids = text_windows(model, calibration, windows=count, length=context, least=2)
        return ids, "calibration text"
    ids = own_windows(model, windows=count, length=context, seed=seed, rounds=rounds)
    return ids, "own samples" if rounds else "random tokens"


def own_windows(
    model: Any,
    *,
    windows: int,
    length: int,
    seed: int,
    rounds: int,
    temperature: float = 1.0,
    burn_in: int = 0,
    first: int | None = None,
) -> torch.Tensor:
    """What the model itself writes behind a random first token.

    A model with `next_logits` (`checkpoint_lens.CausalLM`) is sampled position by position, for the
    operations of one forward pass. From any other all positions are drawn at once, from the ids of the round
    before (Jacobi iteration): `rounds` forward passes instead of one for each token. A position keeps its
    uniform number through the rounds, so that after k rounds the first k + 1 tokens are an exact sample, and
    stay; the rest fits its neighbours as far as k rounds carry.

    The same seed gives the same ids only where sums round alike: with another number of threads a draw near a
    border falls on the other side, and the rest of its window with it. Risks then differ by their sampling
    error.

    Parameters
    ----------
    model
        Causal language model.
    windows, length, seed, rounds
        What to draw; without rounds the ids stay `random_windows`.
    temperature
        Divides the logits: below 1 the samples are more likely than what the model would write.
    burn_in
        Tokens written before each window and left out of it.
    first
        The first token, before the burn-in; random ids by default. `benchmarks/ways.py` compares the choices.

    Returns
    -------
    Tensor
        int64 (windows, length).
    """
    import torch

    where = device_of(model)
    length += burn_in
    ids = random_windows(model.vocab_size, windows=windows, length=length, seed=seed)
    if first is not None:
        ids[:, 0] = first
    uniform = torch.rand((windows, length, 1), generator=torch.Generator().manual_seed(seed + 1))
    if rounds and _written(model, ids, uniform, where, temperature):
        return ids[:, burn_in:]
    size = max(1, FLOATS_AT_ONCE // (length * model.vocab_size))
    with torch.no_grad():
        for _ in range(rounds):
            for start in range(0, windows, size):
                batch = ids[start : start + size]
                probability = torch.softmax(model(batch.to(where)) / temperature, -1)
                drawn = draw_labels(probability, uniform[start : start + size].to(where))
                batch[:, 1:] = drawn[:, :-1, 0].cpu()
    return ids[:, burn_in:]


def _written(
    model: Any, ids: torch.Tensor, uniform: torch.Tensor, where: torch.device, temperature: float
) -> bool:
    """Draw each position of `ids` behind the first, given those before; False where the model cannot."""
    import torch

    ahead = getattr(model, "next_logits", None)
    if ahead is None:
        return False
    # The outputs of the linear layers bound the keys and values that are kept.
    kept = sum(site.shape[0] for site in linear_sites(model).values()) * ids.shape[1]
    size = max(1, CACHED_AT_ONCE // max(kept, 1, model.vocab_size))
    with torch.no_grad():
        for start in range(0, len(ids), size):
            batch = ids[start : start + size]
            state = None
            for at in range(1, ids.shape[1]):
                found = ahead(batch[:, at - 1 : at].to(where), state)
                if found is None:
                    return False
                logits, state = found
                drawn = draw_labels(
                    torch.softmax(logits / temperature, -1), uniform[start : start + size, at - 1].to(where)
                )
                batch[:, at] = drawn[:, 0].cpu()
    return True


def draw_labels(probability: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Draws from distributions (..., vocab) by uniform numbers in [0, 1) (..., draws): int64 (..., draws)."""
    import torch

    # By the inverse of the distribution function: torch.multinomial draws as many numbers as there are words.
    below = probability.cumsum(-1)
    drawn = torch.searchsorted(below, (uniform * below[..., -1:]).to(below.dtype), right=True)
    return drawn.clamp_(max=below.shape[-1] - 1)


def text_windows(model: Any, text: str, *, windows: int, length: int, least: int = 1) -> torch.Tensor:
    """Windows of a text that do not overlap, spread evenly over it: int64 (windows, length).

    Raises
    ------
    BadInput
        If the text is shorter than `least` windows; a text too short for all windows gives fewer.
    """
    import torch

    tokens = model.tokenizer.encode(text)
    available = len(tokens) // length
    if available < least:
        raise BadInput(
            f"the text has {len(tokens)} tokens, {least * length - len(tokens)} too few: expected at least "
            f"{least} window{'s' * (least > 1)} of {length}"
        )
    count = min(windows, available)
    starts = [index * available // count * length for index in range(count)]
    return torch.tensor([tokens[start : start + length] for start in starts], dtype=torch.int64)


def refuse_same(calibration: str, evaluation: str) -> None:
    """BadInput when the evaluation text is, or lies in, the calibration text: it proves nothing then."""
    if calibration.strip() == evaluation.strip():
        raise BadInput(
            "the evaluation text is the calibration text: give a text that the rating has not seen"
        )
    seen, judged = _runs(calibration), _runs(evaluation)
    share = len(seen & judged) / len(judged) if judged else 0.0
    if share > SHARED:
        raise BadInput(
            f"{share:.0%} of the evaluation text is in the calibration text: give a text that the rating has "
            "not seen"
        )


def _runs(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)}
