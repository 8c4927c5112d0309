"""Mixtures of experts: weights that tokens touch, and totals that papers state."""

from typing import Any

import numpy as np
import pytest

from mfi_command import BadInput
from roofline import analyze, model_shape, read_config
from roofline.passes import parameters
from roofline.shapes import Experts

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "num_experts_per_tok": 2,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "mixtral": SMALL | {"model_type": "mixtral", "num_local_experts": 4},
    "qwen2_moe": SMALL
    | {
        "model_type": "qwen2_moe",
        "num_experts": 4,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 48,
    },
    "qwen2_moe-sparse": SMALL
    | {
        "model_type": "qwen2_moe",
        "num_experts": 4,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 48,
        "decoder_sparse_step": 2,
    },
    "qwen3_moe": SMALL
    | {"model_type": "qwen3_moe", "num_experts": 4, "moe_intermediate_size": 32, "mlp_only_layers": [0]},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_and_flop_equal_transformers(name: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from roofline import trace

    made = transformers.AutoConfig.for_model(**CONFIGS[name])
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(made, attn_implementation="eager").eval()
    if not hasattr(model, "set_experts_implementation"):
        pytest.skip("this transformers loops over experts, which needs values")
    model.set_experts_implementation("batched_mm")
    assert parameters(model_shape(CONFIGS[name])) == model.num_parameters()
    tokens = torch.empty(2, 11, dtype=torch.long, device="meta")
    found = trace(model, input_ids=tokens)
    angles = sum(one.flop for one in found.operators if "rotary_emb" in one.name and one.kind == "matmul")
    ours = analyze(CONFIGS[name], device="H100", batch=2, sequence=11, logits="all", causal_skip=False)
    bias = ours.flop - sum(p.operator.flop for p in ours.operators if p.operator.kind in ("vector", "gather"))
    for placed in ours.operators:
        one = placed.operator
        if one.kind == "matmul":
            m, n, k = one.sizes
            bias += 2 * m * n * k * one.count - one.flop
    assert bias == found.product_flop - angles


@pytest.mark.parametrize(("count", "active", "tokens"), [(8, 2, 1), (8, 2, 5), (64, 6, 30), (4, 4, 2)])
def test_touched_experts_are_those_of_random_routing(count: int, active: int, tokens: int) -> None:
    """The mean of a simulation, within five of its standard errors."""
    generator = np.random.default_rng(count * tokens)
    distinct = [
        len({e for _ in range(tokens) for e in generator.permutation(count)[:active]}) for _ in range(4000)
    ]
    expected = Experts(count, active, 1, 1).touched(tokens)
    error = np.std(distinct) / np.sqrt(len(distinct))
    assert abs(np.mean(distinct) - expected) <= 5 * error + 1e-12


def test_mixtral_has_the_size_its_paper_states() -> None:
    found = analyze("mixtral-8x7b", device="H100", phase="decode")
    assert found.parameters == 46_702_792_704
    assert found.weight_bytes == 2 * found.parameters


def test_one_token_reads_its_experts_and_many_read_all() -> None:
    few = analyze("mixtral-8x7b", device="H200", phase="decode", batch=1)
    many = analyze("mixtral-8x7b", device="H200", phase="decode", batch=256)
    read = {
        name: sum(p.operator.weights for p in found.operators if p.operator.name.startswith("expert_"))
        for name, found in (("few", few), ("many", many))
    }
    assert read["few"] == 2 * 3 * 4096 * 14336 * 32
    assert read["many"] == pytest.approx(8 * 3 * 4096 * 14336 * 32, rel=1e-9)
    assert any("25%" in note for note in few.notes)


def test_the_combination_of_experts_by_hand() -> None:
    found = analyze(CONFIGS["mixtral"], device="H100", batch=2, sequence=5)
    (one,) = [p.operator for p in found.operators if p.operator.name == "expert_combine"]
    assert one.bytes == 3 * 2 * (2 * 10 * 64 + 10 * 64)
    assert one.flop == 3 * 2 * 2 * 10 * 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_local_experts": None}, "num_local_experts"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok"),
        ({"num_experts_per_tok": 0}, "num_experts_per_tok"),
    ],
)
def test_unusable_experts(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        model_shape(CONFIGS["mixtral"] | change)


def test_a_dense_architecture_with_experts_is_refused() -> None:
    with pytest.raises(BadInput, match="num_local_experts"):
        model_shape(read_config("llama-3-8b") | {"num_local_experts": 8})
