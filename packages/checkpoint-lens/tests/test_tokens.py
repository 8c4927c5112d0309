"""Tokens, the bytes they stand for, and what a tokenizer puts before a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Inner
from tokenizers import processors

from checkpoint_lens.tokens import Tokenizer, open_tokenizer
from mfi_command import BadInput


def wrapped(inner: Inner) -> Tokenizer:
    return Tokenizer(Inner.from_str(inner.to_str()))


@given(st.text(max_size=60))
def test_bytes_of_a_prefix_are_those_of_its_text(tokenizer, text):
    encoded = wrapped(tokenizer).encode_with_bytes(text)
    assert encoded.ids.tolist() == tokenizer.encode(text, add_special_tokens=False).ids
    assert (encoded.byte_ends[1:] >= encoded.byte_ends[:-1]).all()
    for count in range(1, len(encoded.ids) + 1):
        # The tokens of a byte-level BPE are its bytes, under an alphabet of one character a byte.
        exact = sum(len(tokenizer.id_to_token(i)) for i in encoded.ids[:count].tolist())
        assert 0 <= encoded.byte_ends[count - 1] - exact <= 3
    if len(encoded.ids):
        assert encoded.byte_ends[-1] == len(text.encode())


def test_post_processing_that_trims_offsets_does_not_lose_bytes(tokenizer, text):
    inner = Inner.from_str(tokenizer.to_str())
    inner.post_processor = processors.ByteLevel(trim_offsets=True)
    trimmed = Tokenizer(inner).encode_with_bytes(text)
    assert trimmed.byte_ends.tolist() == wrapped(tokenizer).encode_with_bytes(text).byte_ends.tolist()


def test_begin_of_text_is_found_as_a_prefix(tokenizer):
    inner = Inner.from_str(tokenizer.to_str())
    inner.add_special_tokens(["<begin>", "<end>"])
    begin, end = inner.token_to_id("<begin>"), inner.token_to_id("<end>")
    inner.post_processor = processors.TemplateProcessing(
        single="<begin> $A <end>", special_tokens=[("<begin>", begin), ("<end>", end)]
    )
    found = Tokenizer(inner)
    assert found.prefix == [begin]
    assert found.encode("the river") == tokenizer.encode("the river").ids
    assert wrapped(tokenizer).prefix == []


def test_truncation_and_padding_of_the_file_are_off(tokenizer, text):
    inner = Inner.from_str(tokenizer.to_str())
    inner.enable_truncation(5)
    inner.enable_padding(length=8)
    assert Tokenizer(inner).encode(text) == tokenizer.encode(text).ids


@pytest.mark.parametrize("content", ["", "{", "{}", '{"model": {"type": "Telepathy"}}'])
def test_an_unknown_tokenizer_is_bad_input(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(BadInput, match="not a tokenizer") as caught:
        open_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_tokenizer(tmp_path):
    with pytest.raises(BadInput, match=r"no tokenizer\.json"):
        open_tokenizer(tmp_path)
