"""A headless browser for the pages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Seen:
    """What the browser saw of a page."""

    errors: list[str]
    requests: list[str]
    figures: list[bool]
    scroll_width_px: int


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Debian's chromium, driven by playwright."""
    api = pytest.importorskip("playwright.sync_api")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser) -> Callable[[Path, int], Seen]:
    """Open a file at a width: console errors, requests beyond the file itself, figures that were drawn."""

    def look(path: Path, width_px: int) -> Seen:
        page = browser.new_page(viewport={"width": width_px, "height": 900})
        errors: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_load_state()
        drawn = page.eval_on_selector_all(
            "figure svg",
            "all => all.map(s => s.getBBox().width > 50 && s.getBBox().height > 50"
            " && s.querySelectorAll('path').length > 5)",
        )
        width = page.evaluate("document.documentElement.scrollWidth")
        page.close()
        elsewhere = [url for url in requests if not url.startswith(("data:", path.as_uri()))]
        return Seen(errors, elsewhere, drawn, width)

    return look
