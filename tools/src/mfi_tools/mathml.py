"""A hook of mkdocs: formulas become MathML while the site is built, so a reader's browser runs no script."""

from __future__ import annotations

import html
import re
from typing import Any

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
# A docstring's :math:`...`, which Markdown takes for code after a word.
ROLE = re.compile(r":math:<code>(.*?)</code>", re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def with_mathml(page: str) -> str:
    """The page with every formula turned into MathML: those that arithmatex marked, and those of docstrings.

    Raises
    ------
    ValueError
        If a formula cannot be read; the message is the formula.
    """
    for pattern in (INLINE, ROLE):
        page = pattern.sub(lambda match: _mathml(match[1], "inline"), page)
    return DISPLAY.sub(lambda match: _mathml(match[1], "block"), page)


def _mathml(formula: str, display: str) -> str:
    from latex2mathml.converter import convert

    latex = html.unescape(formula).strip()
    try:
        mathml: str = convert(latex, display=display)
    except Exception as error:
        raise ValueError(f"cannot read the formula {latex!r}: {type(error).__name__} {error}") from error
    return mathml


def on_page_content(content: str, /, *, page: Any, **_: Any) -> str:
    """What mkdocs calls with each page's HTML."""
    from mkdocs.exceptions import PluginError

    try:
        return with_mathml(content)
    except ValueError as error:
        raise PluginError(f"{page.file.src_path}: {error}") from error
