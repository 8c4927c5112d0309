"""One answer in every form a file may have: JSON, CSV, Markdown, HTML, PNG, SVG, and tables on a terminal."""

from __future__ import annotations

import csv
import html
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from mfi_command.errors import BadInput
from mfi_command.files import atomic_file
from mfi_command.report import Report, Table, cell, plain

ENDINGS = (".json", ".csv", ".md", ".html", ".png", ".svg")
_WIDTH_WITHOUT_TERMINAL = 160

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
body{color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid #d0d7de;text-align:left}
td.number{text-align:right;font-variant-numeric:tabular-nums}
figure{margin:1rem 0}svg,img{max-width:100%;height:auto}
footer{color:#57606a;font-size:.85rem}
"""


def to_json(payload: Mapping[str, object]) -> str:
    """The payload as strict JSON, which has no NaN and no infinity."""
    return json.dumps(plain(payload), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def to_csv(report: Report) -> str:
    """The first table, since a CSV file holds one; numbers keep all their digits."""
    if not report.tables:
        raise BadInput("this command has no table to write as .csv; use .json")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(report.tables[0].columns)
    for row in report.tables[0].rows:
        writer.writerow(
            [
                "" if item is None else "; ".join(map(str, item)) if isinstance(item, list | tuple) else item
                for item in row
            ]
        )
    return text.getvalue()


def _markdown_table(table: Table) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in cells) + " |"

    rows = [line(list(table.columns)), line(["---"] * len(table.columns))]
    rows += [line([cell(item) for item in row]) for row in table.rows]
    return f"## {table.title}\n\n" + "\n".join(rows) + "\n"


def to_markdown(title: str, report: Report) -> str:
    """Every table and note."""
    parts = [
        f"# {title}\n",
        *(_markdown_table(table) for table in report.tables),
        *(f"{note}\n" for note in report.notes),
    ]
    return "\n".join(parts)


def html_table(table: Table) -> str:
    """A table as HTML, numbers aligned to the right."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="number">{html.escape(cell(item))}</td>'
            if isinstance(item, int | float) and not isinstance(item, bool)
            else f"<td>{html.escape(cell(item))}</td>"
            for item in row
        )
        + "</tr>"
        for row in table.rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure_svg(report: Report) -> str:
    """The figure as an inline SVG element, without the XML prologue that HTML does not take."""
    text = _figure_bytes(report, "svg").decode()
    return text[text.index("<svg") :]


def _figure_bytes(report: Report, form: str) -> bytes:
    if report.draw is None:
        raise BadInput(
            f"this command draws no figure, so it cannot write .{form}; use .json, .csv, .md or .html"
        )
    figure = report.draw()
    data = io.BytesIO()
    figure.savefig(data, format=form, bbox_inches="tight", dpi=150)
    return data.getvalue()


def to_html(title: str, report: Report, payload: Mapping[str, object]) -> str:
    """One page that opens offline: the figure, the tables, the notes, and the JSON folded away."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if report.draw is not None:
        parts.append(f"<figure>{figure_svg(report)}</figure>")
    parts += [f"<h2>{html.escape(table.title)}</h2>{html_table(table)}" for table in report.tables]
    parts += [f"<p>{html.escape(note)}</p>" for note in report.notes]
    parts.append(f"<details><summary>JSON</summary><pre>{html.escape(to_json(payload))}</pre></details>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def check_ending(path: Path) -> None:
    """Refuse an unknown ending before the work is done, not after it.

    Raises
    ------
    BadInput
        If the ending of `path` is none of `ENDINGS`.
    """
    if path.suffix.lower() not in ENDINGS:
        raise BadInput(f"cannot tell the form of {path} from its ending; use one of {' '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise BadInput(f"cannot write {path}: there is no directory {path.parent}; make it first")


def write(path: Path, title: str, report: Report, payload: Mapping[str, object]) -> None:
    """Write the answer in the form that the ending of `path` names, whole or not at all."""
    form = path.suffix.lower()
    if form in (".png", ".svg"):
        data = _figure_bytes(report, form[1:])
    elif form == ".json":
        data = to_json(payload).encode()
    elif form == ".csv":
        data = to_csv(report).encode()
    elif form == ".md":
        data = to_markdown(title, report).encode()
    else:
        data = (report.page() if report.page is not None else to_html(title, report, payload)).encode()
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def show(report: Report) -> None:
    """Print tables and notes for a person; wide when there is no terminal to measure."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(
        width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False, markup=False
    )
    for table in report.tables:
        grid = RichTable(title=table.title, title_justify="left", title_style="bold")
        for index, name in enumerate(table.columns):
            numbers = all(isinstance(row[index], int | float | None) for row in table.rows)
            grid.add_column(name, justify="right" if numbers else "left", overflow="fold")
        for row in table.rows:
            grid.add_row(*(cell(item) for item in row))
        console.print(grid)
    for note in report.notes:
        console.print(note, soft_wrap=True)
