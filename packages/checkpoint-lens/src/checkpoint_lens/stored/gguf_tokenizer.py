"""The byte-level BPE tokenizer that a GGUF file carries, built with the tokenizers library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from checkpoint_lens.stored.gguf_header import read_header
from checkpoint_lens.tokens import Tokenizer
from mfi_command import BadInput

if TYPE_CHECKING:
    import tokenizers

_CONTROL, _USER_DEFINED = 3, 4
# How text is cut before merges, by the name llama.cpp gives each cut (llama-vocab.cpp).
_GPT2, _DIGITS, _LLAMA3, _QWEN2 = "gpt-2", "smollm", "llama-bpe", "qwen2"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"


def gguf_tokenizer(path: Path) -> Tokenizer:
    """Build the tokenizer of a GGUF file (kind "gpt2": byte-level BPE).

    Raises
    ------
    BadInput
        If the file has no tokenizer, or one of another kind.
    """
    metadata = read_header(path).metadata
    kind, cut = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or cut not in (_GPT2, _DIGITS, _LLAMA3, _QWEN2):
        raise BadInput(
            f"{path}: its tokenizer ({kind!r}, cut {cut!r}) is not one we build; "
            "put the model's tokenizer.json beside the file"
        )
    try:
        inner = _build(metadata, cut)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"{path}: its tokenizer is damaged ({error}); put tokenizer.json beside it") from error
    begin = metadata.get("tokenizer.ggml.bos_token_id")
    wanted = metadata.get("tokenizer.ggml.add_bos_token", cut == _LLAMA3)
    return Tokenizer(inner, prefix=[begin] if wanted and begin is not None else [])


def _build(metadata: dict[str, Any], cut: str) -> tokenizers.Tokenizer:
    from tokenizers import AddedToken, decoders, models, normalizers
    from tokenizers import Tokenizer as Inner

    words: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(line.split(" ")) for line in metadata["tokenizer.ggml.merges"]]
    kinds: list[int] = metadata["tokenizer.ggml.token_type"]
    vocabulary = {word: number for number, word in enumerate(words)}
    inner = Inner(models.BPE(vocabulary, merges, ignore_merges=cut == _LLAMA3))
    inner.pre_tokenizer = _pre_tokenizer(cut)
    inner.decoder = decoders.ByteLevel()
    if cut == _QWEN2:
        inner.normalizer = normalizers.NFC()
    for word, kind in zip(words, kinds, strict=True):
        if kind in (_CONTROL, _USER_DEFINED):
            inner.add_tokens([AddedToken(word, special=kind == _CONTROL, normalized=False)])
    return inner


def _pre_tokenizer(cut: str) -> Any:
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

    if cut == _GPT2:
        return ByteLevel(add_prefix_space=False)
    if cut == _DIGITS:
        return Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    pattern = _WORDS % ("{1,3}" if cut == _LLAMA3 else "") + _SPACES
    return Sequence([Split(Regex(pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])
