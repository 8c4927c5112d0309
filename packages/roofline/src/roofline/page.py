"""The roofline as one interactive page that opens without a network."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from mfi_command import BadInput, atomic_file
from roofline.analysis import Analysis
from roofline.chart import chart_of
from roofline.kernels import KernelAnalysis
from roofline.plot import COLOURS, limits


def roofline_page(analysis: Analysis | KernelAnalysis) -> str:
    """The chart as HTML: zoom, move, numbers of each point, ceilings to switch off, a table to sort.

    Names of kernels are data, never markup: a `<` in one cannot end the script that holds them.
    """
    chart = chart_of(analysis)
    if not chart.points:
        raise BadInput("no operator does arithmetic, so there is nothing to put on the chart")
    data = chart.to_dict() | {"limits": limits(chart)}
    for point in data["points"]:
        point["colour"] = COLOURS[point["bound"]]
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    page = (files("roofline") / "page.html").read_text(encoding="utf-8")
    return page.replace("/*DATA*/", text)


def write_page(path: Path, analysis: Analysis | KernelAnalysis) -> None:
    """Write `roofline_page` to `path`, whole or not at all."""
    if path.suffix.lower() != ".html":
        raise BadInput(f"{path}: the interactive chart is a page; give a name that ends in .html")
    page = roofline_page(analysis)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
