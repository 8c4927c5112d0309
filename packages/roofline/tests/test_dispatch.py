"""Counting by dispatch: FLOP against flop_counter on real architectures, bytes by hand."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from mfi_command import BadInput
from roofline import trace

torch = pytest.importorskip("torch")
from torch.nn import functional  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

ARCHITECTURES = tomllib.loads((Path(__file__).parent / "architectures.toml").read_text(encoding="utf-8"))
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "max_position_embeddings": 64,
}
# One of each sort: grouped heads, experts, fused projections, learned positions, encoder, both, convolutions.
QUICK = ("llama", "mixtral", "gpt2", "opt", "bert", "t5", "resnet")


def meta(*shape: int, dtype: Any = torch.float32) -> Any:
    return torch.empty(shape, device="meta", dtype=dtype)


def built(name: str) -> tuple[Any, dict[str, Any]]:
    transformers = pytest.importorskip("transformers")
    if name not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {name}")
    keys = dict(ARCHITECTURES[name])
    kind = keys.pop("kind", "causal")
    classes = {
        "causal": transformers.AutoModelForCausalLM,
        "masked": transformers.AutoModelForMaskedLM,
        "sequence": transformers.AutoModelForSeq2SeqLM,
        "image": transformers.AutoModelForImageClassification,
    }
    config = transformers.AutoConfig.for_model(name, **({} if kind == "image" else SMALL) | keys)
    with torch.device("meta"):
        model = classes[kind].from_config(config, attn_implementation="eager").eval()
    if any("expert" in key for key in keys):
        if not hasattr(model, "set_experts_implementation"):
            pytest.skip("this transformers loops over experts, which needs values")
        # As batched products: flop_counter counts no grouped ones.
        model.set_experts_implementation("batched_mm")
    if kind == "image":
        return model, {"pixel_values": meta(2, 3, 32, 32)}
    tokens = meta(2, 11, dtype=torch.long)
    decoder = {"decoder_input_ids": tokens} if kind == "sequence" else {}
    return model, {"input_ids": tokens} | decoder


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in ARCHITECTURES],
)
def test_flop_of_an_architecture_equal_flop_counter(name: str) -> None:
    model, given = built(name)
    with FlopCounterMode(display=False) as counter:
        found = trace(model, **given)
    assert found.product_flop == counter.get_total_flops() > 0


def test_thirty_architectures_are_compared() -> None:
    assert len(ARCHITECTURES) >= 30


def test_a_product_reads_and_writes_once() -> None:
    found = trace(torch.nn.Linear(64, 32, device="meta"), meta(5, 64))
    (one,) = found.operators
    assert one.bytes == 4 * (5 * 64 + 64 * 32 + 32 + 5 * 32)
    assert one.weights == 64 * 32 + 32
    assert found.product_flop == 2 * 5 * 64 * 32


def test_views_move_nothing_and_broadcasts_what_they_hold() -> None:
    def function(a: Any, b: Any) -> Any:
        return a.transpose(0, 1).reshape(7, 3)[1:].unsqueeze(0), a + b.expand(3, 7)

    (one,) = trace(function, meta(3, 7), meta(1, 7)).operators
    assert one.name == "add"
    assert one.bytes == 4 * (21 + 7 + 21)


def test_a_gather_moves_what_it_picks() -> None:
    (one,) = trace(functional.embedding, meta(10, dtype=torch.long), meta(5000, 16)).operators
    assert one.kind == "gather"
    assert one.bytes == 8 * 10 + 2 * 4 * 10 * 16
    assert one.flop == 0


def test_in_place_reads_what_it_changes_but_a_copy_does_not() -> None:
    assert trace(lambda a, b: a.add_(b), meta(8), meta(8)).unfused_bytes == 4 * 3 * 8
    assert trace(lambda a, b: a.copy_(b), meta(8), meta(8)).unfused_bytes == 4 * 2 * 8


class Attention(torch.nn.Module):
    """Attention step by step, as eager code writes it."""

    def forward(self, q: Any, k: Any, v: Any) -> Any:
        return torch.softmax(q @ k.transpose(-1, -2) * 0.125, -1) @ v


def test_a_module_moves_its_inputs_and_its_result() -> None:
    shape = (2, 4, 33, 16)
    found = trace(Attention(), meta(*shape), meta(*shape), meta(*shape))
    (one,) = found.modules
    elements = 2 * 4 * 33 * 16
    scores = 2 * 4 * 33 * 33
    assert one.bytes == 4 * 4 * elements
    assert one.kind == "attention"
    # Scores: written by the product, scaled and normalised in two passes each, read by the second product.
    assert one.unfused_bytes == found.unfused_bytes == 4 * (4 * elements + 6 * scores)
    assert found.product_flop == 4 * 2 * 4 * 33 * 33 * 16


def test_a_result_that_others_use_is_written() -> None:
    model = torch.nn.Sequential(torch.nn.SiLU(), torch.nn.Tanh())
    found = trace(model, meta(100))
    assert [one.bytes for one in found.modules] == [800, 800]


def test_equal_layers_are_one_entry() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(8, 8, device="meta") for _ in range(5)))
    (one,) = trace(model, meta(3, 8)).operators
    assert one.count == 5
    assert one.flop == 5 * 2 * 3 * 8 * 8


def test_experts_are_read_as_far_as_rows_meet_them() -> None:
    if not hasattr(torch, "_grouped_mm"):
        pytest.skip("this torch has no grouped product")
    rows, experts = 4, 64
    weights = meta(experts, 16, 32, dtype=torch.bfloat16)
    offsets = meta(experts, dtype=torch.int32)
    found = trace(
        lambda a, b, o: torch._grouped_mm(a, b, offs=o),
        meta(rows, 16, dtype=torch.bfloat16),
        weights,
        offsets,
    )
    touched = experts * (1 - (1 - 1 / experts) ** rows)
    assert found.unfused_bytes == pytest.approx(
        2 * (rows * 16 + touched * 16 * 32 + rows * 32) + 4 * experts, rel=1e-3
    )
    assert found.product_flop == 2 * rows * 16 * 32


def test_a_question_about_a_mask_is_answered_and_counted() -> None:
    found = trace(lambda a: a * 2 if (a > 0).all() else a, meta(4))
    assert found.assumed == 1
    assert any(one.name == "mul" for one in found.operators)


@pytest.mark.parametrize(
    "function",
    [lambda a: a[a > 0].sum(), lambda a: a * a.sum().item(), lambda a: a.reshape(3, 1) @ a.reshape(3, 1)],
)
def test_code_that_cannot_run_without_values_is_refused_in_one_line(function: Any) -> None:
    with pytest.raises(BadInput) as caught:
        trace(function, meta(3))
    assert "\n" not in str(caught.value)


def test_real_tensors_are_counted_alike() -> None:
    layer = torch.nn.Linear(6, 4)
    x = torch.randn(3, 6)
    assert trace(layer, x).product_flop == 2 * 3 * 6 * 4
    assert trace(layer, x).unfused_bytes == 4 * (18 + 24 + 4 + 12)
