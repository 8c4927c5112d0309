"""Answers as tables and sentences for a person."""

from __future__ import annotations

from mfi_command.report import Report, Table
from svd_compress.evaluation import Rise
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
