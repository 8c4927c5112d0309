"""One self-contained HTML page: an answer per section, its figure and table, how it was obtained."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from mfi_command.render import html_table
from mfi_command.report import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS_SHOWN = 12  # a phone shows about as many; the rest of a long table is folded

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--ground:#fff;--box:#f3f6f9}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4ae;--line:#3d444d;--ground:#12161b;--box:#1c2229}}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--ground)}
body{margin:0 auto;max-width:62rem;padding:1rem 1rem 4rem}
h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.25rem;margin:2.5rem 0 .25rem}
nav a{margin-right:1rem}a{color:inherit}.facts,footer,.how{color:var(--soft);font-size:.9rem}
.short{background:var(--box);border-left:4px solid #2f6fde;padding:.75rem 1.25rem;margin:1rem 0}
.short li{margin:.35rem 0}.answer{font-size:1.05rem}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;margin:.75rem 0}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td:last-child:not(.number){min-width:16rem}
td.number{text-align:right;font-variant-numeric:tabular-nums}th{white-space:nowrap}
figure{margin:1rem 0;background:#fff;padding:.25rem;border:1px solid var(--line)}
figure svg{display:block;width:100%;height:auto}summary{cursor:pointer;margin:.5rem 0}
"""


@dataclass(frozen=True)
class Section:
    """One stage of the chain as the page shows it.

    Attributes
    ----------
    id
        Anchor, and the field of the JSON answer.
    title, answer
        The question, and its answer in one sentence.
    how
        How the numbers were obtained and how far they can be off.
    """

    id: str
    title: str
    answer: str
    how: str
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[str, Figure]] = ()


def inline_svg(caption: str, figure: Figure) -> str:
    """The figure as an SVG element that scales to the page and tells a screen reader what it shows."""
    import matplotlib as mpl

    text = io.StringIO()
    # Element ids are salted per figure: two figures on one page must not share a clip path.
    with mpl.rc_context({"svg.hashsalt": caption}):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    label = escape(caption, quote=True)
    return svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _table(table: Table) -> str:
    shown = html_table(Table(table.title, table.columns, table.rows[:_ROWS_SHOWN]))
    if len(table.rows) <= _ROWS_SHOWN:
        return f"<h3>{escape(table.title)}</h3>{shown}"
    return (
        f"<h3>{escape(table.title)}</h3>{shown}"
        f"<details><summary>all {len(table.rows)} rows</summary>{html_table(table)}</details>"
    )


def _section(section: Section) -> str:
    figures = "".join(
        f"<figure>{inline_svg(caption, figure)}</figure>" for caption, figure in section.figures
    )
    return (
        f'<section id="{section.id}"><h2>{escape(section.title)}</h2>'
        f'<p class="answer">{escape(section.answer)}</p>{figures}'
        f"{''.join(_table(table) for table in section.tables)}"
        f'<p class="how">{escape(section.how)}</p></section>'
    )


def render(title: str, facts: str, sections: Sequence[Section], provenance: Mapping[str, str]) -> str:
    """The page.

    Parameters
    ----------
    title, facts
        The heading, and the line under it.
    sections
        In the order of the chain.
    provenance
        What made the page: date, command, versions.
    """
    short = "".join(
        f'<li><a href="#{section.id}">{escape(section.title)}</a> {escape(section.answer)}</li>'
        for section in sections
    )
    made = " · ".join(f"{escape(key)} {escape(value)}" for key, value in provenance.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # An empty icon: a browser that asks for favicon.ico reports an error in its console.
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="facts">{escape(facts)}</p><ul class="short">{short}</ul>'
        f"<main>{''.join(_section(section) for section in sections)}</main>"
        f"<footer>{made}</footer></body></html>\n"
    )
