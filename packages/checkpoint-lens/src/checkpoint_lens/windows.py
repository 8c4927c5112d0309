"""A text cut into windows that a model reads one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput

if TYPE_CHECKING:
    from checkpoint_lens.causal_lm import CausalLM

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Window:
    """What the model reads: `ids` (n,) int64, the first `unscored` of which have no prediction to be judged.

    `text_bytes` are the bytes of the text that the judged tokens stand for.
    """

    ids: np.ndarray[Any, np.dtype[np.int64]]
    unscored: int
    text_bytes: int


def windows(model: CausalLM, text: str, *, context: int, max_tokens: int | None) -> list[Window]:
    """Cut `text` into non-overlapping windows of `context` tokens; what is left at the end is a shorter one.

    Where the tokenizer puts a begin-of-text token before a text, each window begins with it and every token
    of the text is judged; elsewhere the first token of a window is read and not judged.

    Raises
    ------
    BadInput
        If the text has fewer than two tokens, a token is outside the model's vocabulary, `context` is below 2
        or above what the configuration allows, or `max_tokens` is below 2.
    """
    prefix = model.tokenizer.prefix
    _check(model, text, context, max_tokens, len(prefix))
    encoded = model.tokenizer.encode_with_bytes(text)
    ids, ends = encoded.ids[:max_tokens], encoded.byte_ends[:max_tokens]
    if len(ids) < 2:
        raise BadInput(f"the text is {len(ids)} token long; a prediction to judge needs two")
    if ids.max() >= model.vocab_size:
        raise BadInput(
            f"the tokenizer gives token {int(ids.max())}, the model knows {model.vocab_size}: "
            "tokenizer and weights do not belong together"
        )
    return list(_cut(ids, ends, context, np.array(prefix, np.int64)))


def _cut(
    ids: np.ndarray[Any, np.dtype[np.int64]],
    ends: np.ndarray[Any, np.dtype[np.int64]],
    context: int,
    prefix: np.ndarray[Any, np.dtype[np.int64]],
) -> Iterator[Window]:
    size = context - len(prefix)
    unscored = len(prefix) or 1
    for start in range(0, len(ids), size):
        part = ids[start : start + size]
        if len(prefix) + len(part) <= unscored:
            return  # a last lone token has nothing to be predicted from
        before = start if len(prefix) else start + 1
        first_byte = int(ends[before - 1]) if before else 0
        yield Window(np.concatenate([prefix, part]), unscored, int(ends[start + len(part) - 1]) - first_byte)


def _check(model: CausalLM, text: str, context: int, max_tokens: int | None, prefix: int) -> None:
    if not text.strip():
        raise BadInput("the text is empty; expected a few sentences at least")
    if context < 2 + prefix:
        raise BadInput(f"context {context} is too short; a window needs at least {2 + prefix} tokens")
    if model.max_context is not None and context > model.max_context:
        raise BadInput(f"context {context} is over the {model.max_context} positions of the model")
    if max_tokens is not None and max_tokens < 2:
        raise BadInput(f"max_tokens {max_tokens} is too small; a prediction to judge needs two tokens")
