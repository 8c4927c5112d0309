"""The front, the sentences, and where predicted intervals come from."""

import pytest

from svd_compress.allocation import Plan
from svd_compress.evaluation import Rise
from svd_compress.scanning import LayerLine, Point, pareto
from svd_compress.timing import Interval


def point(size, latency, perplexity):
    rise = Rise(30.0, perplexity, perplexity - 30.0, perplexity - 30.1, perplexity - 29.9)
    return Point(0.9, Plan({}, size, 0.0), size, latency, rise, None)


def test_the_front_has_no_beaten_point_and_all_others():
    a, b, c = point(10, 3.0, 31.0), point(8, 4.0, 32.0), point(12, 2.0, 33.0)
    beaten, equal = point(10, 3.0, 31.5), point(10, 3.0, 31.0)
    assert pareto([a, b, c, beaten, equal]) == [a, b, c]
    assert pareto([beaten]) == [beaten]
    # Without latencies two numbers decide.
    assert pareto([point(10, None, 31.0), point(12, None, 31.0)]) == [point(10, None, 31.0)]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            LayerLine("X", 9, 128, Interval(1.3, 1.27, 1.33), Interval(0.2, 0.1, 0.3), measured=True),
            "layer X: rank 128, +30 % speed (+27 % to +33 %), perplexity +0.200 (+0.100 to +0.300)",
        ),
        (
            LayerLine("X", 9, 8, None, Interval(0.2, 0.1, 0.3), measured=False),
            "layer X: rank 8, perplexity +0.200 (+0.100 to +0.300, predicted)",
        ),
        (LayerLine("X", 9, None, None, None, measured=False), "layer X: leave dense"),
    ],
)
def test_one_line_for_each_layer(line, sentence):
    assert line.sentence() == sentence
