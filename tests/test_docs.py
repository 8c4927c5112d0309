"""The site builds strictly, holds every page it must, and asks nothing of the network."""

import importlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mfi_tools.workspace import members

ROOT = Path(__file__).parents[1]
TOOLS = sorted(
    member.name
    for member in members(ROOT).values()
    if member.folder.startswith("packages/") and member.name != "mfi-command"
)
PAGES = ["index", "architecture", "contributing", "tools/index"] + [
    f"tools/{tool}/{page}" for tool in TOOLS for page in ("guide", "maths", "cli", "api")
]


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_has_its_four_pages(tool):
    for page in ("guide", "maths", "cli", "api"):
        file = ROOT / "docs" / "tools" / tool / f"{page}.md"
        assert file.is_file(), file.relative_to(ROOT)
        assert len(file.read_text(encoding="utf-8").split()) >= (3 if page == "api" else 60), (
            f"{file.name} is a stub"
        )


class Links(HTMLParser):
    """What a page makes a browser load: scripts, pictures, style sheets."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.loaded.append(values.get("src") or "")
        if tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon", "preconnect"):
            self.loaded.append(values.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="uv run --group docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_built(site):
    """A plugin can drop a page without a word."""
    built = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert set(PAGES) <= built, sorted(set(PAGES) - built)


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        links = Links()
        links.feed(page.read_text(encoding="utf-8"))
        outside = [link for link in links.loaded if re.match(r"(https?:)?//", link)]
        assert outside == [], page.relative_to(site)
    for sheet in site.rglob("*.css"):
        outside = re.findall(
            r"(?:url\(|@import\s+)[\"']?(?:https?:)?//[^)\"']+", sheet.read_text(encoding="utf-8")
        )
        assert outside == [], sheet.relative_to(site)


@pytest.mark.slow
def test_formulas_are_drawn_by_the_browser_alone(site):
    """Every formula became MathML; none is left as LaTeX in the text."""
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("maths.html")}
    assert sum(text.count("<math") for text in pages.values()) > 0
    for path, text in pages.items():
        assert 'class="arithmatex"' not in text, path.relative_to(site)
    for path in site.rglob("api.html"):
        assert ":math:" not in path.read_text(encoding="utf-8"), path.relative_to(site)


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_the_api_page_documents_every_function_and_class(site, tool):
    module = importlib.import_module(tool.replace("-", "_"))
    text = (site / "tools" / tool / "api.html").read_text(encoding="utf-8")
    called = {name: getattr(module, name) for name in module.__all__ if callable(getattr(module, name))}
    # An alias is documented under the name of what it stands for.
    missing = [
        name
        for name, value in called.items()
        if not re.search(rf'id="[\w.]*\b({name}|{getattr(value, "__name__", name)})"', text)
    ]
    assert not missing, missing
