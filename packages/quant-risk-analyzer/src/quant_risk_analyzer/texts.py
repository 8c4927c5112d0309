"""Token sequences to run the model on: random ids, or windows of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfi_command import BadInput

if TYPE_CHECKING:
    import torch


def random_windows(vocab_size: int, *, windows: int, length: int, seed: int) -> torch.Tensor:
    """Uniform random token ids, int64 (windows, length)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab_size, (windows, length), generator=generator)


def text_windows(model: Any, text: str, *, windows: int, length: int) -> torch.Tensor:
    """Windows of a text that do not overlap, spread evenly over it: int64 (windows, length).

    Raises
    ------
    BadInput
        If the text is shorter than one window; a text too short for all windows gives fewer.
    """
    import torch

    tokens = model.tokenizer.encode(text)
    available = len(tokens) // length
    if available == 0:
        raise BadInput(
            f"the text has {len(tokens)} tokens, {length - len(tokens)} too few: "
            f"expected at least one window of {length}"
        )
    count = min(windows, available)
    starts = [index * available // count * length for index in range(count)]
    return torch.tensor([tokens[start : start + length] for start in starts], dtype=torch.int64)
