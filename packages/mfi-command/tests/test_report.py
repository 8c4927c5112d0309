"""The JSON form and the cell form of values."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

import pytest

from mfi_command import render
from mfi_command.report import Report, cell, plain


class Scalar:
    """Stands for a numpy scalar, which this package does not depend on."""

    def tolist(self):
        return math.inf

    def item(self):
        return 2.5


def test_plain_is_strict_json():
    given = {1: (1.0, -math.inf, math.nan), "p": PurePosixPath("a/b"), "n": Scalar(), "b": True, "none": None}
    assert plain(given) == {"1": [1.0, None, None], "p": "a/b", "n": None, "b": True, "none": None}


def test_plain_refuses_what_has_no_form():
    with pytest.raises(TypeError, match="no JSON form for object"):
        plain(object())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (12345678, "12345678"),
        (0.123456, "0.1235"),
        (Scalar(), "2.5"),
        ([1, "a"], "1, a"),
    ],
)
def test_cell(value, text):
    assert cell(value) == text


def test_a_command_with_its_own_page_writes_that(tmp_path):
    target = tmp_path / "answer.html"
    render.write(target, "title", Report({}, page=lambda: "<!doctype html><p>own page</p>"), {})
    assert target.read_text() == "<!doctype html><p>own page</p>"
    render.write(target, "title", Report({}), {})
    assert "<h1>title</h1>" in target.read_text()
