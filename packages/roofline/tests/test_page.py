"""The interactive page: its data, and, where there is a browser, what it shows."""

import json
import re
import shutil
from pathlib import Path

import pytest

from mfi_command import BadInput
from roofline import Kernel, Operator, analyze, analyze_kernels
from roofline.page import roofline_page, write_page


def data_of(page: str) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def test_the_page_holds_the_chart_and_needs_no_network(tmp_path: Path) -> None:
    path = tmp_path / "chart.html"
    write_page(path, analyze("llama-3-8b", device="H100"))
    page = path.read_text()
    data = data_of(page)
    assert {"memory", "compute"} == {point["bound"] for point in data["points"]}
    assert len(data["limits"]) == 4
    assert not re.search(r"(src|href)=", page)


def test_a_name_cannot_break_out() -> None:
    name = "</script><script>alert(1)</script>"
    kernel = Kernel(Operator(name, "matmul", 1, 10**9, 10**6), "bf16", 1e-3)
    page = roofline_page(analyze_kernels([kernel], device="H100"))
    assert "<script>alert" not in page
    assert data_of(page)["points"][0]["label"] == name


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\.html"):
        write_page(tmp_path / "chart.png", analyze("gpt2", device="H100"))
    copy = Kernel(Operator("copy", "vector", 1, 0, 10**6), "bf16", 1e-6)
    with pytest.raises(BadInput, match="arithmetic"):
        roofline_page(analyze_kernels([copy], device="H100"))


def test_a_browser_draws_it(tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api")
    if shutil.which("chromium") is None:
        pytest.skip("no chromium")
    path = tmp_path / "chart.html"
    analysis = analyze("llama-3-8b", device="H100", batch=4)
    write_page(path, analysis)
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        points = data_of(path.read_text())["points"]
        assert page.locator("circle").count() == len(points)
        assert page.locator("#rows tr").count() == len(points)
        boxes = page.eval_on_selector_all(
            "text.label",
            "all => all.map(one => one.getBBox()).map(b => [b.x, b.y, b.x + b.width, b.y + b.height])",
        )
        before = page.locator("circle").first.get_attribute("cx")
        page.mouse.move(500, 400)
        page.mouse.wheel(0, -400)
        assert page.locator("circle").first.get_attribute("cx") != before
        browser.close()
    assert errors == []
    assert len(boxes) == len(points)
    for number, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert not (left < other[2] and other[0] < right and top < other[3] and other[1] < bottom)
