"""Blocks and places by name, layouts with and without blocks."""

import pytest

from quant_risk_analyzer.roles import block_of, places


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("model.layers.11.mlp.down_proj", 11),
        ("h.1.attn.c_attn.q", 1),
        ("model.layers.3.mlp.experts.7.w1", 3),
        ("experts.5.down_proj", None),
        ("lm_head", None),
    ],
)
def test_the_block_is_the_first_number_that_is_no_expert(name, block):
    assert block_of(name) == block


def test_places_are_those_of_the_blocks_whatever_a_block_holds():
    names = ["project_in", "h.4.q", "h.4.k", "h.6.qkv", "h.9.experts.0.up", "h.9.experts.1.up", "lm_head"]
    assert places(names) == [0, 0, 0, 0.5, 1, 1, 1]
    assert places(["a", "b"]) == places(["h.0.q", "h.0.k"]) == [0.5, 0.5]
    assert places([]) == []
