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
            "texts where it takes any, and Model Optimizer one layer a group and one format a call; ours "
            "without data is of four rounds of sampling. In brackets the 95 % interval by drawing layers "
            "anew.",
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


def without_data(results: dict[str, Any]) -> list[str]:
    """What the model reads when there is no text: every way, on the models that did not choose."""
    found = results.get("ways")
    if found is None:
        return []
    parts = [
        "## No data: what should the model read?",
        f"Ways listed in `ways.py` before any was judged; {len(found['chosen_on'])} models of half of the "
        f"zoo's families choose, by the sum of the two correlations over the formats. Best is "
        f"'{found['best']}', which leads the plain own samples by {found['lead']['mean']:.3f} "
        f"[{found['lead']['low']:.3f}, {found['lead']['high']:.3f}]; the plain ones cost the least and stay "
        f"unless the interval lies above 0. Chosen: **{found['chosen']}**. The table is of the other "
        "models of the zoo: scores as sampled, without the factors for the places of the layers. "
        "A window has 64 tokens where no number says otherwise, and its first token is drawn uniformly; "
        "`from the middle` leaves 32 tokens out that were written before it. 8192 tokens, 4 label draws. In "
        "brackets the 95 % interval by drawing models anew.",
        f"Made by `rank_study.py` and `ways_tables.py` on {found['date']} ({found['device']}, torch "
        f"{found['torch']}).",
    ]
    members, tables = found["judged_on"]["zoo"], found["tables"]
    trials = (", geometric mean", ", half of the tokens")
    shown = [
        way
        for way in sorted(found["merit"], key=lambda way: -found["merit"][way])
        if not way.endswith(trials) or way.startswith(tuple(found["chosen"] + trial for trial in trials))
    ]
    lines = [
        f"| {len(members)} other models of the zoo: all layers / within role / worst tenth found | "
        f"{' | '.join(FORMATS.values())} |",
        "| --- |" + " --- |" * len(FORMATS),
    ]
    for way in ("text", *shown):
        cells = [_three(tables[way]["zoo"][kind]) for kind in FORMATS]
        lines.append(f"| {'32 texts' if way == 'text' else way} | {' | '.join(cells)} |")
    return [*parts, "\n".join(lines)]


def _three(found: dict[str, dict[str, float]]) -> str:
    overall, within, recall = (found[name] for name in ("overall", "within role", "worst tenth found"))
    return (
        f"{overall['mean']:.2f} [{overall['low']:.2f}, {overall['high']:.2f}] / {within['mean']:.2f} / "
        f"{recall['mean']:.2f}"
    )


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
        "An encoder writes nothing. Its ids are drawn uniformly, by their place in the vocabulary, which is "
        "ordered by frequency, or from eight ids a window, between its first and last token; or the language "
        "model that comes with checkpoint-lens, which learned texts of the kind that the damage is measured "
        "on, writes "
        f"(`encoder_no_data.py`, {found['date']}, {found['device']}; {found['windows']} windows of "
        f"{found['length']}, {found['probes']} label draws, as sampled; the bank that the output compares "
        "with is drawn likewise):",
        "\n".join(lines),
    ]


def scans(results: dict[str, Any]) -> list[str]:
    """Whole checkpoints, weights only, and weightwatcher itself by turns."""
    parts = ["## Weights only: whole checkpoints"]
    lines = [
        "| checkpoint | GB | parameters | seconds of one processor, for a GB | by the clock, one process "
        "/ one for each core | peak memory, MiB (promised) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in results.get("scan_speed", {}).items():
        serial = found["serial"]
        lines.append(
            f"| {name}, {found['date']}, {found['device']} | {found['gigabytes']:.2f} | {serial['account']} "
            f"| {serial['processors_s']:.1f}, {found['processors_s_per_gb']:.1f} "
            f"| {serial['wall_s']:.1f} / {found['processes']['wall_s']:.1f} s "
            f"(load before {found['load_before']:.1f}, {found['cores']} cores) "
            f"| {serial['peak_mib']:.0f} ({found['promised_mib']:.0f}) |"
        )
    if len(lines) > 2:
        parts += [
            "Names and shapes by transformers, random bfloat16 numbers in shards (`scan_speed.py`); one "
            "process and several give the same answer.",
            "\n".join(lines),
        ]
    for name, found in results.get("scan_speed_h200_host", {}).items():
        parts.append(
            f"{name} on the {found['cores']} cores of a machine with a GPU, with other work beside it "
            f"({found['date']}): {found['serial']['wall_s']:.1f} s by one process, "
            f"{found['processes']['wall_s']:.1f} s by one for each core."
        )
    by_turns = results["scan_weightwatcher"]
    ratios = [each["ratio"] for each in by_turns["rounds"]]
    parts.append(
        f"weightwatcher {by_turns['weightwatcher']} itself, by turns with `scan` on the same two matrices, "
        f"2048 x 2048 (`scan_peers.py`, {by_turns['date']}): {min(ratios):.0f} to {max(ratios):.0f} times "
        "the processor seconds."
    )
    return parts
