"""The page in a real browser: nothing from the network, no console error, every figure drawn, phone-wide."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure

from mfi.report.page import Section, render
from mfi_command.report import Table

PHONE_WIDTH_PX = 390


def figure() -> Figure:
    drawn = Figure(figsize=(8, 3))
    drawn.subplots().semilogy(np.random.default_rng(0).random(50), label="σ <&> ×")
    return drawn


def page() -> str:
    rows = [[f"model.layers.{block}.self_attn.q_proj", 0.5**block, True] for block in range(40)]
    table = Table("Wide <table>", ["layer & name", "risk", "rated", *("x" * 30 for _ in range(8))], [])
    wide = Table(table.title, table.columns, [[*row, *("y" * 30 for _ in range(8))] for row in rows])
    sections = [
        Section("risk", "What?", "An answer <b>&", "Measured.", [wide], [("first", figure())]),
        Section("plan", "How many?", "Three.", "Simulated.", (), [("second", figure())]),
    ]
    return render("A <title>", "facts & figures", sections, {"made": "today"})


def test_text_is_escaped_and_every_answer_stands_twice():
    text = page()
    assert "A &lt;title&gt;" in text
    assert text.count("An answer &lt;b&gt;&amp;") == 2
    assert "all 40 rows" in text


def test_two_figures_share_no_id():
    import re

    ids = re.findall(r'<clipPath id="([^"]+)"', page())
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width_px", [PHONE_WIDTH_PX, 1280])
def test_in_a_browser(tmp_path, open_page, width_px):
    path = tmp_path / "page.html"
    path.write_text(page(), encoding="utf-8")
    seen = open_page(path, width_px)
    assert seen.errors == []
    assert seen.requests == []
    assert seen.figures == [True, True]
    assert seen.scroll_width_px <= width_px
