"""FLOP of single operators against flop_counter, over drawn shapes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline import trace
from roofline.aten import base_name, vector_flop

torch = pytest.importorskip("torch")
from torch.nn import functional  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

small = st.integers(1, 9)
few = settings(
    max_examples=20
)  # each runs five operators on meta; the formulas have no corners beyond small sizes


def meta(*shape: int) -> Any:
    return torch.empty(shape, device="meta")


def both(function: Any, *arguments: Any) -> tuple[int, int]:
    with FlopCounterMode(display=False) as counter:
        ours = trace(function, *arguments).product_flop
    return ours, counter.get_total_flops()


@few
@given(batch=small, m=small, n=small, k=small)
def test_products(batch: int, m: int, n: int, k: int) -> None:
    for function, arguments in (
        (torch.mm, (meta(m, k), meta(k, n))),
        (torch.bmm, (meta(batch, m, k), meta(batch, k, n))),
        (torch.addmm, (meta(n), meta(m, k), meta(k, n))),
        (torch.baddbmm, (meta(batch, m, n), meta(batch, m, k), meta(batch, k, n))),
        (functional.linear, (meta(batch, m, k), meta(n, k))),
    ):
        ours, theirs = both(function, *arguments)
        assert ours == theirs, function


@few
@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 3),
    per_group=st.integers(1, 4),
    size=st.integers(4, 9),
    filter_size=st.integers(1, 3),
    stride=st.integers(1, 2),
    transposed=st.booleans(),
)
def test_convolutions(
    batch: int, groups: int, per_group: int, size: int, filter_size: int, stride: int, transposed: bool
) -> None:
    wide = groups * per_group
    x = meta(batch, wide, size, size)
    weight = meta(wide, per_group, filter_size, filter_size)
    run = functional.conv_transpose2d if transposed else functional.conv2d
    ours, theirs = both(lambda a, w: run(a, w, stride=stride, groups=groups), x, weight)
    assert ours == theirs


@few
@given(batch=small, heads=small, queries=small, keys=small, width=st.sampled_from([8, 16]))
def test_attention(batch: int, heads: int, queries: int, keys: int, width: int) -> None:
    q, k = meta(batch, heads, queries, width), meta(batch, heads, keys, width)
    ours, theirs = both(functional.scaled_dot_product_attention, q, k, k)
    assert ours == theirs == 4 * batch * heads * queries * keys * width


def test_backward_of_a_convolution() -> None:
    def step(x: Any, weight: Any) -> Any:
        return torch.autograd.grad(functional.conv2d(x, weight).sum(), (x, weight))

    x, weight = meta(2, 3, 8, 8).requires_grad_(), meta(5, 3, 3, 3).requires_grad_()
    ours, theirs = both(step, x, weight)
    assert ours == theirs == 3 * 2 * (2 * 5 * 6 * 6) * (3 * 3 * 3)


def test_names() -> None:
    assert {base_name(name) for name in ("aten::add_", "aten.add.Tensor", "add")} == {"add"}
    assert base_name("aten::__and__") == "__and__"
    assert base_name("aten::_softmax") == "_softmax"


def test_what_moves_computes_nothing_and_a_sum_adds_its_inputs() -> None:
    assert vector_flop("clone", [100], 100) == 0
    assert vector_flop("sum", [100], 1) == 100
    assert vector_flop("silu", [100], 100) == 400
