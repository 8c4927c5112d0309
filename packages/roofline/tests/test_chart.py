"""What a chart shows: ceilings in use, points under the roof."""

import doctest
from dataclasses import replace

import pytest

from roofline import Kernel, Operator, analyze, analyze_kernels, device
from roofline import chart as module
from roofline.chart import chart_of

MEASURED = replace(device("H200"), levels_bytes_per_s={"l2": 8e12, "l1": 3e13})


def test_every_operator_with_work_is_on_the_chart_under_the_roof() -> None:
    analysis = analyze("llama-3-8b", device="H100")
    chart = chart_of(analysis)
    drawn = {name for point in chart.points for name in point.label.split(", ")}
    assert drawn == {placed.operator.name for placed in analysis.operators if placed.operator.flop}
    assert set(chart.unplaced) == {p.operator.name for p in analysis.operators if not p.operator.flop}
    for point in chart.points:
        assert point.flop_per_s <= min(989e12, 3350e9 * point.intensity) * (1 + 1e-9)
        assert not point.measured


def test_levels_have_roofs_and_points_their_l2_intensity() -> None:
    chart = chart_of(analyze("llama-3-8b", device=MEASURED, batch=4))
    assert [roof.label.split()[0] for roof in chart.roofs[:3]] == ["memory", "L2", "L1"]
    product = next(point for point in chart.points if "gate_proj" in point.label)
    assert product.l2_intensity is not None
    assert product.l2_intensity < product.intensity


def test_measured_kernels_stand_where_they_were_measured() -> None:
    kernels = [
        Kernel(Operator("fast", "matmul", 1, 10**12, 10**9), "bf16", 2e-3, (("l2", 4 * 10**9),)),
        Kernel(Operator("single", "vector", 1, 10**6, 10**6), "fp32", 1e-6),
    ]
    chart = chart_of(analyze_kernels(kernels, device="H200"))
    single, fast = chart.points
    assert fast.flop_per_s == pytest.approx(5e14)
    assert fast.l2_intensity == pytest.approx(250)
    assert fast.measured
    assert single.intensity == 1
    assert {roof.label.split()[0] for roof in chart.roofs} == {"memory", "bf16", "fp32"}


def test_docstrings_run() -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert found.failed == 0
