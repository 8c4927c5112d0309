"""Formulas in the documentation become MathML."""

import pytest

pytest.importorskip("latex2mathml", reason="uv run --group docs")

from mfi_tools.mathml import with_mathml


def test_inline_and_display():
    page = (
        '<p>so <span class="arithmatex">\\(x &lt; y^2\\)</span></p>'
        '<div class="arithmatex">\\[\n\\sum_{i=1}^n \\sigma_i\n\\]</div>'
    )
    text = with_mathml(page)
    assert "arithmatex" not in text
    assert text.count("<math") == 2
    assert 'display="inline"' in text
    assert 'display="block"' in text
    assert "<mo>&#x0003C;</mo>" in text
    assert "<msup>" in text


def test_docstrings():
    text = with_mathml("<p>Sums :math:<code>\\sum_i x_i &lt; 1</code> of <code>x</code>.</p>")
    assert ":math:" not in text
    assert text.count("<math") == 1
    assert "<code>x</code>" in text


def test_text_without_formulas_is_left_alone():
    page = "<p>costs $5 and \\(not marked\\)</p>"
    assert with_mathml(page) == page


def test_a_broken_formula_stops_the_build():
    with pytest.raises(ValueError, match="cannot read the formula"):
        with_mathml('<span class="arithmatex">\\(\\sqrt\\)</span>')
