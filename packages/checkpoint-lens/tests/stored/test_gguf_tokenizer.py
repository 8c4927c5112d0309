"""The tokenizer inside a GGUF against the tokenizer.json it came from."""

from __future__ import annotations

import json

import pytest
from gguf import GGUFWriter
from tokenizers import AddedToken, Regex, pre_tokenizers

from checkpoint_lens.stored.gguf_tokenizer import gguf_tokenizer
from mfi_command import BadInput

# As in the tokenizer.json of Llama 3 and Qwen2.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SAMPLES = [
    "It's 12345 o'clock,\n\n  isn't  it?\t\n",
    "",
    " ",
    "naïve café — 20 °C",
    "x<|end|>y",
    "a\r\n\r\nb   c",
]


def cut_by(name):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name in ("gpt-2", "smollm"))
    if name == "gpt-2":
        return byte_level
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    pattern = LLAMA3 if name == "llama-bpe" else LLAMA3.replace("{1,3}", "")
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level])


def write(path, tokenizer, *, pre="gpt-2", model="gpt2", begin=None):
    content = json.loads(tokenizer.to_str())
    vocabulary = tokenizer.get_vocab()
    words = sorted(vocabulary, key=vocabulary.get)
    special = {token["content"] for token in content["added_tokens"]}
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(words)
    writer.add_token_types([3 if word in special else 1 for word in words])
    writer.add_token_merges([" ".join(pair) for pair in content["model"]["merges"]])
    if begin is not None:
        writer.add_bos_token_id(begin)
        writer.add_add_bos_token(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def wanted(tokenizer):
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.add_special_tokens([AddedToken("<|end|>", normalized=False)])
    return copy


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_same_tokens_as_tokenizer_json(tmp_path, wanted, text, pre):
    wanted.pre_tokenizer = cut_by(pre)
    built = gguf_tokenizer(write(tmp_path / "x.gguf", wanted, pre=pre))
    assert built.prefix == []
    for sample in [*SAMPLES, text]:
        assert built.encode(sample) == wanted.encode(sample, add_special_tokens=False).ids
        assert built.decode(built.encode(sample)) == sample
    cuts = {
        name: gguf_tokenizer(write(tmp_path / name, wanted, pre=name)).encode(text) for name in ("gpt-2", pre)
    }
    assert pre == "gpt-2" or cuts["gpt-2"] != cuts[pre]


def test_begin_of_text_is_a_prefix(tmp_path, wanted):
    end = wanted.token_to_id("<|end|>")
    assert gguf_tokenizer(write(tmp_path / "x.gguf", wanted, begin=end)).prefix == [end]


@pytest.mark.parametrize(
    ("model", "pre"), [("llama", "default"), ("gpt2", "never-heard-of"), ("bert", "gpt-2")]
)
def test_an_unknown_kind_is_bad_input(tmp_path, wanted, model, pre):
    with pytest.raises(BadInput, match=r"tokenizer\.json beside"):
        gguf_tokenizer(write(tmp_path / "x.gguf", wanted, pre=pre, model=model))


def test_a_damaged_one_is_bad_input(tmp_path, wanted):
    path = write(tmp_path / "x.gguf", wanted)
    path.write_bytes(path.read_bytes().replace(b"tokenizer.ggml.merges", b"tokenizer.ggml.mergez"))
    with pytest.raises(BadInput, match="damaged"):
        gguf_tokenizer(path)
