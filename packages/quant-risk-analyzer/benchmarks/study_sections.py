"""Sections of the study's page that are measured on a CPU: the tools themselves, exact samples, scans."""

from __future__ import annotations

from typing import Any

from rank_rows import ROWS, loaded

from quant_risk_analyzer.agreement import spearman

FORMATS = {"int4": "int4", "int3": "int3", "fp8_e4m3": "fp8"}
FORMULAS = {
    "Model Optimizer, auto_quantize gradient": "modelopt gradient",
    "NNCF, HESSIAN_INPUT_ACTIVATION": "NNCF with data",
    "weightwatcher, alpha": "weightwatcher alpha",
}


def real_tools(results: dict[str, Any]) -> list[str]:
    """What NNCF, weightwatcher and Model Optimizer themselves say of the rows' layers."""
    parts = ["## The tools themselves"]
    rows = {model["model"]: model for model in loaded(ROWS)}
    for name, found in results["peers_real"].items():
        versions = ", ".join(f"{tool} {version}" for tool, version in found["versions"].items())
        shown = " | ".join(FORMATS.values())
        lines = [
            f"| {name}: all layers / within role / worst tenth found | {shown} | formula's rank correlation "
            "with the tool | seconds |",
            "| --- |" + " --- |" * (len(FORMATS) + 2),
        ]
        for method, each in found["methods"].items():
            cells = [_figures(each["agreement"][kind]) for kind in FORMATS]
            lines.append(
                f"| {method} | {' | '.join(cells)} | {_formula(method, each['scores'], rows.get(name))} | "
                f"{each['seconds']:.0f} |"
            )
        parts += [
            f"Made by `peers_real.py` on {found['date']} ({found['device']}, with other work beside it; "
            f"{versions}); the damage was measured on {found['measured_on']}. Every tool got the same 32 "
            "texts where it takes any, and Model Optimizer one layer a group and one format a call. In "
            "brackets the 95 % interval by drawing layers anew.",
            "\n".join(lines),
        ]
    return parts


def _figures(found: dict[str, float]) -> str:
    return (
        f"{found['overall']:.2f} [{found['overall_low']:.2f}, {found['overall_high']:.2f}] / "
        f"{found['within role']:.2f} / {found['worst tenth found']:.2f}"
    )


def _formula(method: str, scores: dict[str, dict[str, float]], row: dict[str, Any] | None) -> str:
    """How the formula in `peers.py` ranks the same layers, beside the tool: the least of the formats."""
    score = FORMULAS.get(method)
    if score is None or row is None or score not in row["layers"][0]["scores"]:
        return ""
    known = [layer for layer in row["layers"] if layer["name"] in scores["int4"]]
    found = [
        spearman(
            [layer["scores"][score][kind] for layer in known],
            [scores[kind][layer["name"]] for layer in known],
        )
        for kind in scores
    ]
    return f"{min(found):.3f}"


def exact_samples(results: dict[str, Any]) -> list[str]:
    """No data, drawn position by position: against the rounds of the tables, and a text."""
    parts = [
        "## No data: exact samples",
        "`rate` without a text runs the model on what it writes itself, drawn position by position. The "
        "tables' own samples are four rounds for all positions at once, of which only the first tokens are "
        "exact. Bias and spread: of log(measured / predicted).",
    ]
    labels = {"exact": "own samples, exact", "four rounds": "own samples, four rounds", "text": "32 texts"}
    for name, found in results["own_samples"].items():
        lines = [
            f"| {name}: all layers / within role / worst tenth found; bias, spread | "
            + " | ".join(FORMATS.values())
            + " |",
            "| --- |" + " --- |" * len(FORMATS),
        ]
        for score, label in labels.items():
            cells = [
                f"{_figures(each)}; {each['log_bias']:+.2f}, {each['log_deviation']:.2f}"
                for kind in FORMATS
                for each in (found["agreement"][kind][score],)
            ]
            lines.append(f"| {label} | {' | '.join(cells)} |")
        parts += [
            f"Made by `own_samples.py` on {found['date']} ({found['device']}; exact samples: "
            f"{found['tokens']} tokens, {found['probes']} label draws each; the rounds and the texts, and "
            f"the damage: {found['measured_on']}).",
            "\n".join(lines),
        ]
    return [*parts, *_calibrated(results["own_samples"])]


def _calibrated(results: dict[str, Any]) -> list[str]:
    counts: dict[str, float] = {}
    brier = []
    for found in results.values():
        for kind in FORMATS:
            each = found["agreement"][kind]["calibration"]
            brier.append(each["brier"])
            for key, value in each.items():
                counts[key] = counts.get(key, 0) + value
    return [
        "The grades and intervals of this tier keep the constants that were fitted on the zoo with samples "
        f"of four rounds. Judged on the exact samples of {', '.join(results)}, all formats: Brier score "
        f"{sum(brier) / len(brier):.3f}; {counts['truly_in_c']} of {counts['layers_in_c']} layers graded C "
        f"by rank are truly in the worst tenth, and {counts['truly_in_a']} of {counts['layers_in_a']} graded "
        f"A; the measured damage lies in the interval for {counts['in_interval']} of {counts['layers']}."
    ]


def encoder(results: dict[str, Any]) -> list[str]:
    """The encoder without any text."""
    found = results.get("encoder_no_data")
    if found is None:
        return []
    lines = [
        f"| {found['model']}: all layers / within role / worst tenth found | "
        + " | ".join(FORMATS.values())
        + " |",
        "| --- |" + " --- |" * len(FORMATS),
    ]
    for label, each in found["agreement"].items():
        lines.append(f"| {label} | {' | '.join(_figures(each[kind]) for kind in FORMATS)} |")
    return [
        "An encoder writes nothing. Its ids are drawn by their place in the vocabulary, which is ordered by "
        f"frequency, or uniformly, between its first and last token (`encoder_no_data.py`, {found['date']}, "
        f"{found['device']}; {found['windows']} windows of {found['length']}, {found['probes']} label draws; "
        "the bank that the output compares with is drawn likewise):",
        "\n".join(lines),
    ]


def scans(results: dict[str, Any]) -> list[str]:
    """Whole checkpoints, weights only, and weightwatcher itself by turns."""
    parts = ["## Weights only: whole checkpoints"]
    lines = [
        "| checkpoint | GB | parameters | seconds of one processor, for a GB | by the clock, one process | "
        "peak memory, MiB (promised) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in results.get("scan_speed", {}).items():
        serial = found["serial"]
        lines.append(
            f"| {name}, {found['date']}, {found['device']} | {found['gigabytes']:.2f} | {serial['account']} "
            f"| {serial['processors_s']:.1f}, {found['processors_s_per_gb']:.1f} | {serial['wall_s']:.0f} s "
            f"(other work beside it) | {serial['peak_mib']:.0f} ({found['promised_mib']:.0f}) |"
        )
    if len(lines) > 2:
        parts += [
            "Names and shapes by transformers, random bfloat16 numbers in shards (`scan_speed.py`); one "
            "process and several give the same answer.",
            "\n".join(lines),
        ]
    by_turns = results["scan_weightwatcher"]
    ratios = [each["ratio"] for each in by_turns["rounds"]]
    parts.append(
        f"weightwatcher {by_turns['weightwatcher']} itself, by turns with `scan` on the same two matrices, "
        f"2048 x 2048 (`scan_peers.py`, {by_turns['date']}): {min(ratios):.0f} to {max(ratios):.0f} times "
        "the processor seconds."
    )
    return parts
