"""Architectures of transformers counted from their config."""

from typing import Any

import pytest

from mfi_command import BadInput
from roofline import analyze, read_config
from roofline.hf import analyze_config

pytest.importorskip("torch")
pytest.importorskip("transformers")
SMALL: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "max_position_embeddings": 512,
}


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_products_equal_our_formulas(phase: str) -> None:
    """The code of transformers and `analyze` agree, but for the angles of the rotary embedding."""
    options = {"device": "H100", "batch": 3, "sequence": 40, "phase": phase}
    found = analyze_config(SMALL, by="operator", **options)
    ours = analyze(SMALL, logits="all", causal_skip=False, **options)
    theirs = sum(
        one.operator.flop
        for one in found.operators
        if one.operator.kind in ("matmul", "attention") and "rotary" not in one.operator.name
    )
    assert theirs == sum(
        one.operator.flop for one in ours.operators if one.operator.kind in ("matmul", "attention")
    )


def test_a_decode_step_reads_the_cache_and_the_weights() -> None:
    config = SMALL | {"hidden_size": 256, "intermediate_size": 640, "head_dim": 64}
    short, long = (
        analyze_config(config, device="H100", batch=2, sequence=sequence, phase="decode")
        for sequence in (10, 410)
    )
    one = {placed.operator.name: placed.operator for placed in short.operators}
    other = {placed.operator.name: placed.operator for placed in long.operators}
    name = "model.layers.*.self_attn"
    cache = 3 * 2 * 2 * 400 * 2 * 64 * 2
    # Read by attention; the code also copies it to append to it.
    assert other[name].bytes - one[name].bytes >= cache
    assert other["model.layers.*.mlp.up_proj"].bytes == one["model.layers.*.mlp.up_proj"].bytes


def test_an_architecture_without_formulas() -> None:
    config = {"model_type": "distilbert", "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 96}
    found = analyze_config(config, device="H100", batch=2, sequence=16)
    assert found.flop > 0
    with pytest.raises(BadInput, match="decode"):
        analyze_config(config, device="H100", phase="decode")


@pytest.mark.slow
def test_opt_175b_takes_no_weights() -> None:
    found = analyze_config(read_config("opt-175b"), device="H100", sequence=64, dtype="fp16")
    assert sum(one.operator.weights for one in found.operators) > 170e9


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ({"hidden_size": 3}, {}, "no model_type"),
        ({"model_type": "abacus"}, {}, "'abacus'"),
        (SMALL | {"hidden_size": "wide"}, {}, "llama"),
        (SMALL, {"dtype": "fp8"}, "fp8"),
        (SMALL, {"batch": 0}, "batch"),
        (SMALL, {"sequence": 10**12}, "sequence"),
        (SMALL, {"phase": "both"}, "phase"),
    ],
)
def test_unusable_configs(config: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        analyze_config(config, device="H100", **options)
