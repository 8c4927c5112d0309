"""One page that opens without a network: the map of risks, what to do, the spectra of the worst layers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape

from quant_risk_analyzer.confidence import calibrations
from quant_risk_analyzer.fixes import NONE
from quant_risk_analyzer.report import FormatRisk, LayerRisk, RiskReport

CELL = 26  # pixels
WORST = 3  # layers whose spectra are shown
SHOWN = 40  # rows of what to do; the rest is counted
PALE, MIDDLE, DARK = (255, 247, 236), (253, 141, 60), (127, 0, 0)
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff}
body{margin:2rem auto;max-width:72rem;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p{max-width:50rem}
table{border-collapse:collapse;font-size:.88rem}.wide{overflow-x:auto}
th,td{padding:.25rem .7rem;border-bottom:1px solid #d0d7de;text-align:left;white-space:nowrap}
td.why{white-space:normal;min-width:16rem}td.n{text-align:right;font-variant-numeric:tabular-nums}
.caveat{border-left:4px solid #b35900;padding:.4rem .8rem;background:#fff8f0}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#1b1f24}
.edge{paint-order:stroke;stroke:#fff;stroke-width:4px}
.panels{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0}figcaption{font-size:.9rem}
details{margin-top:2rem}
"""


def to_page(report: RiskReport, title: str) -> str:
    """The report as one HTML page, without scripts and without anything to fetch."""
    maps = "".join(_map(report, name) for name in report.formats)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(str(report.summary['text']))}</p>",
        *(f'<p class="caveat">No confidence in the order: {escape(each)}.</p>' for each in report.caveats),
        f"<p>{escape(provenance(report))}</p>",
        "<h2>Risk, layer by layer</h2>",
        f"<p>{escape(_legend(report))}</p>",
        f'<div class="panels">{maps}</div>',
        "<h2>What to do</h2>",
        _actions(report),
        _spectra(report),
        f"<details><summary>All {len(report.layers)} layers</summary>{_everything(report)}</details>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def provenance(report: RiskReport) -> str:
    """Where the numbers come from, and what they were worth on models that the calibration did not see."""
    found = calibrations().get(report.tier)
    source = f"From {report.tokens} tokens ({report.tier}), {report.probes} label draws each"
    text = (
        f"{source if report.tokens else 'From the weights alone, no model was run'}; confidence in the "
        f"order: {report.confidence}."
    )
    if found is None:
        return text
    return text + (
        f" The chance to be in the worst tenth had a Brier score of {found.brier:.3f} on "
        f"{found.models_judged} models that its fit did not see ({found.brier_of_base_rate:.3f} for the base "
        "rate)."
    )


def _legend(report: RiskReport) -> str:
    limits = report.thresholds
    if limits.by == "rank":
        return (
            f"A: at most {limits.unlikely:g} chance to be in the worst tenth of the layers, C: at least "
            f"{limits.likely:g}. The colour is the risk in nats per token; point at a cell for its numbers."
        )
    return (
        f"A: below {limits.safe:g} nats per token when this layer alone is quantized, C: above "
        f"{limits.risky:g}. The colour is the risk; point at a cell for its numbers."
    )


def _map(report: RiskReport, kind: str) -> str:
    """Roles against blocks, one format."""
    cells: dict[tuple[str, str], LayerRisk] = {}
    for layer in report.layers:
        place = (_row(layer), _column(layer))
        cells[place if place not in cells else (layer.name, "")] = layer
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = sorted({column for _, column in cells}, key=lambda each: (not each, int(each or 0)))
    left, top = 8 * max(map(len, rows)) + 12, 24
    width, height = left + CELL * len(columns) + 4, top + CELL * len(rows) + 4
    drawn = [
        f'<text x="{left + CELL * (at + 0.5):.0f}" y="16" text-anchor="middle">{escape(column)}</text>'
        for at, column in enumerate(columns)
    ]
    for at, row in enumerate(rows):
        middle = top + CELL * (at + 0.5) + 4
        drawn.append(f'<text x="{left - 6}" y="{middle:.0f}" text-anchor="end">{escape(row)}</text>')
        for across, column in enumerate(columns):
            found = cells.get((row, column))
            if found is not None:
                drawn.append(_cell(found, kind, report, left + CELL * across, top + CELL * at))
    return (
        f'<figure><svg role="img" aria-label="Risk of {escape(kind)} by block and role" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">{"".join(drawn)}</svg>'
        f"<figcaption>{escape(kind)}, roles by block</figcaption></figure>"
    )


def _row(layer: LayerRisk) -> str:
    return layer.role if _column(layer) else layer.name


def _column(layer: LayerRisk) -> str:
    found = re.search(r"\.(\d+)\.", layer.name)
    return found[1] if found and ".experts." not in layer.name else ""


def _cell(layer: LayerRisk, kind: str, report: RiskReport, x: float, y: float) -> str:
    found = layer.formats[kind]
    colour = _colour(found.risk, report)
    ink = "#fff" if sum(colour) < 380 else "#1b1f24"
    told = (
        f"{layer.name}: {found.rating}, {_interval(found)} nats per token. {found.reasons[0]}. {_fix(found)}"
    )
    return (
        f"<g><title>{escape(told)}</title>"
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{CELL - 2}" height="{CELL - 2}" '
        f'fill="rgb{colour}"/><text x="{x + CELL / 2 - 1:.0f}" y="{y + CELL / 2 + 4:.0f}" '
        f'text-anchor="middle" style="fill:{ink}">{found.rating}</text></g>'
    )


def _colour(risk: float, report: RiskReport) -> tuple[int, int, int]:
    """Pale a decade below the limit of A, dark a decade above that of C."""
    low, high = math.log(report.thresholds.safe / 10), math.log(report.thresholds.risky * 10)
    place = min(1.0, max(0.0, (math.log(max(risk, 1e-300)) - low) / (high - low)))
    start, end, part = (PALE, MIDDLE, 2 * place) if place < 0.5 else (MIDDLE, DARK, 2 * place - 1)
    red, green, blue = (round(a + part * (b - a)) for a, b in zip(start, end, strict=True))
    return red, green, blue


def _interval(found: FormatRisk) -> str:
    return f"{found.risk:.2g} ({found.risk_low:.2g} to {found.risk_high:.2g})"


def _fix(found: FormatRisk) -> str:
    if found.fix == NONE or not found.fix:
        return ""
    left = f", risk then {found.risk_after_fix:.2g}" if found.risk_after_fix else ""
    return f"{found.fix}{left}"


def _actions(report: RiskReport) -> str:
    hurt = [
        (found.risk, layer, kind, found)
        for layer in report.layers
        for kind, found in layer.formats.items()
        if found.rating != "A"
    ]
    if not hurt:
        return "<p>Nothing: every layer is rated A in every format.</p>"
    hurt.sort(key=lambda each: -each[0])
    rows = [
        [kind, layer.name, found.rating, _interval(found), _fix(found), "; ".join(found.reasons)]
        for _, layer, kind, found in hurt[:SHOWN]
    ]
    more = len(hurt) - SHOWN
    rest = f"<p>And {more} more, in the table below.</p>" if more > 0 else ""
    heads = ["format", "layer", "grade", "risk, nats per token", "what helps", "why"]
    return _table(heads, rows) + rest


def _everything(report: RiskReport) -> str:
    heads = ["layer", "shape", "role"]
    for kind in report.formats:
        heads += [kind, f"{kind} risk", "SNR dB"]
    rows = []
    for layer in report.layers:
        row = [layer.name, "x".join(map(str, layer.shape)), layer.role]
        for kind in report.formats:
            found = layer.formats[kind]
            row += [found.rating, _interval(found), f"{found.snr_db:.1f}"]
        rows.append(row)
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=why' if name == 'why' else ''}>{escape(value)}</td>"
            for name, value in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _worst(report: RiskReport) -> list[LayerRisk]:
    last = report.formats[-1]
    return sorted(report.layers, key=lambda layer: -layer.formats[last].risk)[:WORST]


def _spectra(report: RiskReport) -> str:
    """Nothing where no spectra were computed: from the weights alone there are none."""
    drawn = "".join(_spectrum(layer, report) for layer in _worst(report))
    return (
        "<h2>Spectra of the worst layers</h2><p>Singular values of the weight, largest first, and how far "
        "rounding noise of each format reaches: values below a line are lost in that format.</p>"
        f'<div class="panels">{drawn}</div>'
        if drawn
        else ""
    )


def _spectrum(layer: LayerRisk, report: RiskReport) -> str:
    """Singular values on a logarithmic axis, and the edge of each format's rounding noise."""
    values = [value for value in layer.spectrum if value > 0]
    if len(values) < 2:
        return ""
    rows, columns = layer.shape
    size = math.sqrt(sum(value**2 for value in values) / (rows * columns))
    edges = {
        kind: found.relative_error * size * (math.sqrt(rows) + math.sqrt(columns))
        for kind, found in layer.formats.items()
        if found.relative_error > 0
    }
    low = math.log10(min([values[-1], *edges.values()])) - 0.05
    low, high = max(low, math.log10(values[0]) - 5), math.log10(values[0]) + 0.05
    width, height, left, bottom = 320, 200, 46, 24

    def y(value: float) -> float:
        return (height - bottom) * (high - max(math.log10(value), low)) / (high - low)

    def x(at: float) -> float:
        return left + (width - left - 6) * at / (len(values) - 1)

    line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in enumerate(values))
    drawn = [f'<polyline points="{line}" fill="none" stroke="#0b5394" stroke-width="2"/>']
    # Names stand at the left, where the values are far above, and beside each other: edges may lie close.
    for at, (kind, edge) in enumerate(edges.items()):
        drawn.append(
            f'<line x1="{left}" x2="{width - 6}" y1="{y(edge):.1f}" y2="{y(edge):.1f}" stroke="#b35900" '
            f'stroke-dasharray="5 4"/><text class="edge" x="{left + 6 + 64 * (at % 4)}" '
            f'y="{y(edge) - 3:.1f}">'
            f"{escape(kind)}</text>"
        )
    for power in range(math.ceil(low), math.floor(high) + 1):
        drawn.append(f'<text x="{left - 6}" y="{y(10.0**power) + 4:.1f}" text-anchor="end">1e{power}</text>')
    frame = f"M{left} 0V{height - bottom}H{width - 6}"
    drawn += [
        f'<path d="{frame}" fill="none" stroke="#57606a"/>',
        f'<text x="{left}" y="{height - 6}">1</text>',
        f'<text x="{width - 6}" y="{height - 6}" text-anchor="end">{len(values)}</text>',
        f'<text x="{(left + width) / 2:.0f}" y="{height - 6}" text-anchor="middle">which value</text>',
    ]
    return (
        f'<figure><svg role="img" aria-label="Singular values of {escape(layer.name)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">{"".join(drawn)}</svg>'
        f"<figcaption>{escape(layer.name)}</figcaption></figure>"
    )
