"""Answers as tables and sentences for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfi_command.report import Report, Table
from svd_compress.pages import latency_table

if TYPE_CHECKING:
    from svd_compress.comparing import MethodRow
    from svd_compress.evaluation import Rise
    from svd_compress.latency import LatencyRow
    from svd_compress.results import CompressedLayer, Compression
    from svd_compress.timing import Interval


def faster(speed_up: Interval | None) -> str:
    """ "+30 % (+27 to +33)", empty where nothing was measured."""
    if speed_up is None:
        return ""
    return f"{speed_up.median - 1:+.0%} ({speed_up.low - 1:+.0%} to {speed_up.high - 1:+.0%})"


def risen(rise: Rise) -> str:
    """Before, after, the rise and its interval."""
    return f"{rise.before:.2f} -> {rise.after:.2f}, {rise.rise:+.2f} ({rise.low:+.2f} to {rise.high:+.2f})"


def compression_report(result: Compression) -> Report:
    """The answer of `compress`."""
    columns = ["layer", "break-even rank", "rank", "kept", "faster", "verdict"]
    rows = [_row(layer) for layer in result.layers]
    notes = [result.reason + "."]
    if result.rise is not None and result.other_domain is not None:
        notes.append(f"On text of another domain: {risen(result.other_domain)}.")
    if result.bytes_after is not None:
        notes.append(
            f"Parameters kept: {result.kept:.1%} of the selected layers, {result.kept_compressed_layers:.1%} "
            f"of the factored ones, {result.kept_model:.1%} of the model; "
            f"{result.bytes_before} -> {result.bytes_after} bytes."
        )
    notes += [warning[0].upper() + warning[1:] + "." for warning in result.warnings]
    return Report(
        fields=result.to_dict(),
        tables=[Table("Layers", columns, rows)],
        notes=notes,
        over_limit=None if result.feasible else result.reason,
    )


def _row(layer: CompressedLayer) -> list[object]:
    return [
        layer.name,
        layer.break_even_rank,
        layer.rank,
        layer.kept,
        faster(layer.speed_up),
        layer.verdict,
    ]


def comparison_report(rows: list[MethodRow]) -> Report:
    """The answer of `compare`."""
    columns = ["method", "ranks", "form", "keep", "kept", "in-domain", "rise", "other domain", "other rise"]
    table = [
        [
            row.method,
            row.ranks,
            row.layout,
            row.keep,
            row.kept,
            row.in_domain.after,
            row.in_domain.rise,
            row.other_domain.after,
            row.other_domain.rise,
        ]
        for row in rows
    ]
    first = rows[0]
    return Report(
        fields={"rows": [row.to_dict() for row in rows]},
        tables=[Table("Perplexity by method at equal size", columns, table)],
        notes=[
            f"Dense: {first.in_domain.before:.2f} in-domain, "
            f"{first.other_domain.before:.2f} on the other domain."
        ],
    )


def latency_report(rows: list[LatencyRow]) -> Report:
    """The answer of `latency`."""
    count = sum(row.verdict == "faster" for row in rows)
    wrong = sum(row.verdict == "measurement error" for row in rows)
    notes = [f"{count} of {len(rows)} are faster than dense with the whole 95 % interval."]
    if wrong:
        notes.append(
            f"{wrong} are above what the bytes and operations allow: a measurement error, not a gain."
        )
    return Report(
        fields={"rows": [row.to_dict() for row in rows]},
        tables=[Table("Latency", *latency_table(rows))],
        notes=notes,
    )


def attention_report(model: str, text: str) -> Report:
    """The answer of `spectrum --attention`."""
    from checkpoint_lens import read_text
    from svd_compress.attention import head_products

    heads = head_products(model, text=None if text == "none" else read_text(text))
    columns = ["block", "head", "product", "effective rank", "of", "rank 90 %", "top-10 energy", "low rank"]
    rows: list[list[object]] = [
        [
            item.block,
            item.head,
            item.product,
            item.effective_rank,
            item.head_dim,
            item.rank_90,
            item.top10_energy,
            item.low_rank,
        ]
        for item in heads
    ]
    notes = []
    for product in dict.fromkeys(item.product for item in heads):
        own = [item for item in heads if item.product == product]
        low = sum(item.low_rank for item in own)
        notes.append(f"{product}: {low} of {len(own)} heads hold 90 % of the energy in ten directions.")
    return Report(
        fields={"heads": [item.to_dict() for item in heads]},
        tables=[Table("Attention, head by head", columns, rows)],
        notes=notes,
    )
