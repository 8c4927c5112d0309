"""Text to tokens, with the bytes that each token stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput

if TYPE_CHECKING:
    import tokenizers


@dataclass(frozen=True)
class Encoded:
    """Token numbers (n,) int64 and, for each, the byte of the text where it ends (n,) int64."""

    ids: np.ndarray[Any, np.dtype[np.int64]]
    byte_ends: np.ndarray[Any, np.dtype[np.int64]]


class Tokenizer:
    """A tokenizer of the `tokenizers` library, told apart into the text's tokens and what is put before them.

    Attributes
    ----------
    prefix
        Tokens that the model expects before a text (a begin-of-text token), often none.
    """

    def __init__(self, inner: tokenizers.Tokenizer, *, prefix: list[int] | None = None) -> None:
        inner.no_truncation()
        inner.no_padding()
        self._inner = inner
        self.prefix = _prefix(inner) if prefix is None else prefix

    def encode(self, text: str) -> list[int]:
        """The tokens of the text alone, without the prefix."""
        ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids

    def encode_with_bytes(self, text: str) -> Encoded:
        """The tokens of the text and where each ends, in bytes of its UTF-8 form.

        A token that ends inside a character counts the whole character.
        """
        encoding = self._inner.encode(text, add_special_tokens=False)
        characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        widths = 1 + (characters >= 0x80) + (characters >= 0x800) + (characters >= 0x10000)
        ends = np.concatenate([[0], np.cumsum(widths)])
        # Ends only: trimmed offsets (ByteLevel's default) move the start of a token past its spaces.
        stops = np.array([stop for _, stop in encoding.offsets], np.int64)
        return Encoded(np.array(encoding.ids, np.int64), ends[stops].astype(np.int64))

    def decode(self, ids: list[int]) -> str:
        """The text of these tokens."""
        return str(self._inner.decode(ids, skip_special_tokens=False))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, added ones included."""
        return int(self._inner.get_vocab_size(with_added_tokens=True))


TokenizerSource = Callable[[], Tokenizer]


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder in the Hugging Face layout.

    Raises
    ------
    BadInput
        If there is no tokenizer.json, or the `tokenizers` library does not know what is in it.
    """
    from tokenizers import Tokenizer as Inner

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise BadInput(
            f"no tokenizer.json in {folder}; save it there with transformers: "
            "AutoTokenizer.from_pretrained(...).save_pretrained(folder)"
        )
    try:
        inner = Inner.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise BadInput(f"{path} is not a tokenizer that the tokenizers library knows: {error}") from error
    return Tokenizer(inner)


def _prefix(inner: tokenizers.Tokenizer) -> list[int]:
    """What the post-processor puts before a text: found by encoding one with and without it."""
    probe = "a"
    plain = inner.encode(probe, add_special_tokens=False).ids
    full = inner.encode(probe, add_special_tokens=True).ids
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return list(full[:start])
    return []
