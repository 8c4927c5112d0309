"""Formulas in the sizes against `roofline.analyze`, to the byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_predictor.pass_time import causal_pairs
from latency_predictor.sharding import sharded
from latency_predictor.work import model_work
from mfi_command import BadInput
from roofline import analyze, read_config

MODELS = ["opt-30b", "opt-350m", "llama-3-8b", "mistral-7b", "qwen2.5-7b", "qwen3-8b", "gpt2", "smollm2-135m"]


@given(
    model=st.sampled_from(MODELS),
    batch=st.integers(1, 300),
    positions=st.integers(1, 5000),
    phase=st.sampled_from(["prefill", "decode"]),
    kv_dtype=st.sampled_from([None, "fp8"]),
    weight_dtype=st.sampled_from([None, "int4", "int8"]),
    fused=st.booleans(),
)
def test_equals_roofline(
    model: str, batch: int, positions: int, phase: str, kv_dtype: str, weight_dtype: str, fused: bool
) -> None:
    options = {"kv_dtype": kv_dtype, "weight_dtype": weight_dtype, "fused": fused}
    work = model_work(model, **options)
    counted = analyze(model, device="H100", batch=batch, sequence=positions, phase=phase, **options)
    tokens = batch * (positions if phase == "prefill" else 1)
    operators = [placed.operator for placed in counted.operators]
    flows = [one for one in operators if one.kind != "attention"]
    assert [flow.name for flow in work.flows] == [one.name for one in flows]
    for flow, one in zip(work.flows, flows, strict=True):
        assert flow.count * flow.bytes.at(tokens, batch) == one.bytes
        assert flow.count * flow.flop.at(tokens, batch) == one.flop
    wanted = sum(one.flop for one in operators if one.kind == "attention")
    queries = np.array([positions if phase == "prefill" else 1.0])
    found = sum(
        4 * batch * one.count * one.heads * one.head_dim
        * float(causal_pairs(queries, np.array([float(positions)]), one.window)[0])
        for one in work.attentions
    )  # fmt: skip
    assert found == wanted
    assert work.memory_bytes(np.array([batch]), np.array([positions]))[0] == counted.memory_bytes


@given(queries=st.integers(1, 40), before=st.integers(0, 40), window=st.one_of(st.none(), st.integers(1, 50)))
def test_pairs_by_counting(queries: int, before: int, window: int | None) -> None:
    keys = queries + before
    wanted = sum(position - max(0, position - (window or keys)) for position in range(before + 1, keys + 1))
    assert causal_pairs(np.array([float(queries)]), np.array([float(keys)]), window)[0] == wanted


@pytest.mark.parametrize("model", ["llama-3-70b", "opt-30b", "qwen2.5-72b"])
@pytest.mark.parametrize("parts", [2, 4, 8])
def test_parts_add_up_to_the_whole(model: str, parts: int) -> None:
    """The matrices are divided; norms and embeddings' width stay, so parts weigh a little more than a
    share.
    """
    whole, part = model_work(model), model_work(model, parts=parts)
    matrices = [
        sum(flow.count * flow.columns * flow.inner for flow in work.flows if flow.kind == "matmul")
        for work in (whole, part)
    ]
    assert matrices[1] * parts == pytest.approx(matrices[0], rel=1e-3)
    assert whole.weight_bytes / parts <= part.weight_bytes < 1.02 * whole.weight_bytes / parts


def test_what_cannot_be_divided_is_named() -> None:
    config = read_config("opt-30b")
    with pytest.raises(BadInput, match="num_attention_heads 56"):
        sharded(config, 3)
    with pytest.raises(BadInput, match="tensor parallel"):
        sharded(config, 0)
    assert sharded(config, 1) == config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "llama"}, "hidden_size"),
        ({"model_type": "no-such", "hidden_size": 8}, "model_type"),
        ({"hidden_size": 0, "model_type": "llama"}, "hidden_size"),
        ({"hidden_size": -8, "model_type": "llama"}, "hidden_size"),
    ],
)
def test_the_field_that_decides_is_named(config: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        model_work(config)
