"""Calibration and evaluation text: read, told apart, cut into windows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mfi_command import BadInput

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM
    from checkpoint_lens.windows import Window

# Pieces this long hardly recur by chance; licences and headings do, so a few in common are let pass.
PIECE, SHARE = 200, 0.05
# One window in so many is kept from the factors and used to search.
SEARCH_EVERY = 4


def two_texts(calibration: str | Path, evaluate: str | Path) -> tuple[str, str]:
    """Both texts, refused where one is the other.

    Parameters
    ----------
    calibration, evaluate
        Paths of UTF-8 files, or "reference:KIND" (see `checkpoint_lens.read_text`).

    Raises
    ------
    BadInput
        If both are the same file or the same text, or more than 5 % of the evaluation text, in pieces of 200
        characters, stands in the calibration text.
    """
    from checkpoint_lens import read_text

    first, second = read_text(calibration), read_text(evaluate)
    same_file = (
        Path(calibration).is_file() and Path(evaluate).is_file() and Path(calibration).samefile(evaluate)
    )
    if same_file or str(calibration) == str(evaluate):
        raise BadInput(
            f"calibration and evaluation text are both {evaluate}: a rise measured on the text that "
            "chose the factors proves nothing; give text that calibration never saw"
        )
    share = shared(first, second)
    if share > SHARE:
        raise BadInput(
            f"{share:.0%} of the evaluation text {evaluate} also stands in the calibration text "
            f"{calibration}; give text that calibration never saw"
        )
    return first, second


def other_text(other: str | Path, calibration: str | Path, evaluate: str | Path) -> str:
    """A text of another domain, which is only shown; refused where it is one of the two others.

    Raises
    ------
    BadInput
        If it is the calibration or the evaluation text.
    """
    from checkpoint_lens import read_text

    text = read_text(other)
    for used, name in ((calibration, "calibration"), (evaluate, "evaluation")):
        if text == read_text(used):
            raise BadInput(f"the text of another domain, {other}, is the {name} text; give a third one")
    return text


def shared(calibration: str, evaluate: str) -> float:
    """Share of the evaluation text, in pieces of 200 characters, that stands in the calibration text."""
    pieces = [evaluate[start : start + PIECE] for start in range(0, len(evaluate), PIECE)]
    whole = [piece for piece in pieces if len(piece) == PIECE] or pieces
    return sum(piece in calibration for piece in whole) / len(whole)


def fit_and_search(
    model: CausalLM, text: str, *, context: int, max_tokens: int
) -> tuple[list[Window], list[Window], list[Window]]:
    """Windows for the factors; every fourth one, which the search measures on; all to train on.

    Taken in turn through the text: a text is often several subjects one after the other. The windows to train
    on are all whole ones of the text but those of the search.

    Raises
    ------
    BadInput
        If the text is shorter than eight windows.
    """
    from checkpoint_lens.windows import windows

    least = 2 * SEARCH_EVERY
    every = windows(model, text, context=context, max_tokens=None)
    chosen = _spread(len(every), max(max_tokens, least * context) // context)
    if len(chosen) < least:
        raise BadInput(
            f"the calibration text gives {len(chosen)} windows of {context} tokens; at least {least} are "
            "needed: give more text or a smaller --context"
        )
    search = set(chosen[SEARCH_EVERY - 1 :: SEARCH_EVERY])
    fit = [every[i] for i in chosen if i not in search]
    whole = [w for i, w in enumerate(every) if i not in search and len(w.ids) == len(every[0].ids)]
    return fit, [every[i] for i in sorted(search)], whole


def _spread(count: int, wanted: int) -> list[int]:
    """So many places of `count`, evenly; all of them where there are fewer."""
    taken = max(1, min(count, wanted))
    return [i * count // taken for i in range(taken)]


def spread_windows(model: CausalLM, text: str, *, context: int, max_tokens: int | None) -> list[Window]:
    """Windows as `checkpoint_lens.perplexity` has them, evenly through the text, to `max_tokens`."""
    from checkpoint_lens.windows import windows

    every = windows(model, text, context=context, max_tokens=None)
    wanted = len(every) if max_tokens is None else max_tokens // context
    return [every[i] for i in _spread(len(every), wanted)]
