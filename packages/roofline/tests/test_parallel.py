"""Tensor parallelism: the parts add up to the whole, and collectives carry what a ring carries."""

from dataclasses import replace

import pytest

from mfi_command import BadInput
from roofline import analyze, device, read_config

LINKED = replace(device("H100"), link_bytes_per_s=450e9)


def products(found: object) -> dict[str, int]:
    return {
        p.operator.name: p.operator.flop
        for p in found.operators  # type: ignore[attr-defined]
        if p.operator.kind in ("matmul", "attention")
    }


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("model", ["llama-3-8b", "mixtral-8x7b", "opt-13b"])
def test_parts_add_up(model: str, phase: str) -> None:
    options = {"device": LINKED, "batch": 4, "sequence": 512, "phase": phase, "dtype": "bf16"}
    whole, part = analyze(model, **options), analyze(model, tensor_parallel=4, **options)
    apart, together = products(part), products(whole)
    for name, flop in together.items():
        if name in ("router", "project_in"):
            assert apart[name] == flop
        else:
            assert 4 * apart[name] == pytest.approx(flop, rel=2e-3), name  # a vocabulary is rounded up
    assert 4 * part.kv_cache_bytes == whole.kv_cache_bytes
    assert part.parameters == whole.parameters
    assert 4 * part.weight_bytes == pytest.approx(whole.weight_bytes, rel=0.01)


def test_collectives_by_hand() -> None:
    found = analyze("llama-3-8b", device=LINKED, batch=8, phase="decode", tensor_parallel=8)
    by_name = {p.operator.name: p for p in found.operators if p.operator.kind == "collective"}
    reduce, gather = by_name["all_reduce"], by_name["all_gather_logits"]
    # 64 all-reduces of 8 x 4096 elements of two bytes: each device sends 2 * 7/8 of them.
    assert reduce.operator.bytes == 64 * 2 * 7 * 8 * 4096 * 2 // 8
    assert gather.operator.bytes == 7 * 8 * 128256 * 2 // 8
    assert reduce.bound == "link"
    assert reduce.time_s == pytest.approx(reduce.operator.bytes / 450e9)
    assert found.bytes == sum(p.operator.bytes for p in found.operators if p.operator.kind != "collective")


def test_few_key_value_heads_are_repeated() -> None:
    found = analyze("llama-3-8b", device=LINKED, phase="decode", tensor_parallel=16)
    assert found.kv_cache_bytes == analyze("llama-3-8b", device=LINKED, phase="decode").kv_cache_bytes // 8
    config = read_config("llama-3.2-3b") | {"intermediate_size": 8400}  # 24 heads, 8 of keys
    with pytest.raises(BadInput, match="num_key_value_heads"):
        analyze(config, device=LINKED, tensor_parallel=12)


@pytest.mark.parametrize(
    ("ways", "message"), [(3, "num_attention_heads"), (0, "tensor_parallel"), (-1, "tensor_parallel")]
)
def test_what_cannot_be_divided(ways: int, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        analyze("llama-3-8b", device=LINKED, tensor_parallel=ways)


def test_a_device_without_links_is_refused() -> None:
    with pytest.raises(BadInput, match="link_bytes_per_s"):
        analyze("llama-3-8b", device="L4", tensor_parallel=2)
