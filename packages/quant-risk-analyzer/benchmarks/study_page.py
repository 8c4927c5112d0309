"""The manual's page of the study, made from the committed results alone.

Run: python study_page.py       (writes docs/tools/quant-risk-analyzer/study.md)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a test loads this file by its path

from study_sections import encoder, real_tools, scans, without_data

PACKAGE = Path(__file__).resolve().parents[1]
RESULTS = PACKAGE / "benchmarks" / "results"
PAGE = PACKAGE.parents[1] / "docs" / "tools" / "quant-risk-analyzer" / "study.md"
OURS = {
    "text": "**32 texts**",
    "own samples": "**no data (own samples)**",
    "own samples in four rounds": "no data (own samples in four rounds)",
    "random tokens": "**no data (random tokens)**",
    "own samples, as sampled": "no data (own samples), as sampled",
    "random tokens, as sampled": "no data (random tokens), as sampled",
    "weights only": "**weights only**",
}
PEERS = {
    "modelopt gradient": "modelopt's gradient score, 32 texts",
    "AutoScheme": "AutoScheme's score, 32 texts",
    "NNCF with data": "NNCF's score, 32 texts",
    "imatrix squared error": "imatrix-weighted squared error, 32 texts",
    "relative output error": "relative output error, 32 texts",
    "weight squared error": "squared error of the weight",
    "weight relative error": "relative error of the weight",
    "spectral error ratio": "spectral norm of the error over that of the weight",
    "weightwatcher alpha": "weightwatcher's alpha",
    "kurtosis": "kurtosis of the weight",
    "role names (perfect table)": "a perfect table of role names",
}
FORMATS = {"int4": "int4", "int3": "int3", "fp8_e4m3": "fp8"}


def loaded() -> dict[str, Any]:
    """All results by the name of their file."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")}
    calibration = PACKAGE / "src" / "quant_risk_analyzer" / "calibration.json"
    return {**found, "calibration": json.loads(calibration.read_text(encoding="utf-8"))}


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    study = results["rank_study"]
    models = [each for each in study["models"] if (each["recipe"] or {}).get("steps", 1) > 0]
    trained = [each for each in models if each["recipe"]]
    families = sorted({each["recipe"]["family"] for each in trained})
    others = [each["model"] for each in models if not each["recipe"]]
    parts = [
        "# quant-risk-analyzer: does the risk rank the damage?",
        "Made by `python packages/quant-risk-analyzer/benchmarks/study_page.py` from the committed "
        "results of "
        "`rank_study.py`, `encoder_study.py`, `calibrate.py` and `allocation_study.py` beside it, and "
        "not written "
        "by hand. One layer at a time is rounded, by output channel and absmax, and the KL divergence of the "
        "logits is measured on a text that no score has seen.",
        f"**Models**: {len(trained)} language models of {len(families)} families ({', '.join(families)}), of "
        f"{min(each['layers'] for each in trained)} to {max(each['layers'] for each in trained)} rated "
        "layers, "
        "trained by the study itself on text of Debian and npm packages with different shapes and seeds; and "
        f"{', '.join(others)}. SmolLM2 is a file of 4-bit blocks, dequantized: int4 with one scale for a "
        "channel "
        "is off its grid, and so are int3 and fp8. The encoder has no next token: its damage is the "
        "change of the "
        "softmax over its similarities to 256 other sentences.",
        f"Measured on {study['device']}, torch {study['torch']}, {study['date']}; "
        + ", ".join(f"{each['model']}: {each['device']}" for each in models if not each["recipe"])
        + f". Tokens of the damage: {_range(trained)} in the zoo, "
        + ", ".join(f"{each['tokens']} ({each['model']})" for each in models if not each["recipe"])
        + ".",
        "**Scores**: in these tables the scores of other tools are their formulas written again on the same "
        "rounding errors (`peers.py`); the next section has the tools themselves and how well the formulas "
        "stand for them. Without data the risk has factors for the places of the layers, fitted on half of "
        "the zoo's families as the chances are; the rows `as sampled` are without them. "
        "Models of an earlier run of the study have own samples in four rounds for all positions at once, as "
        "`rate` drew them then. Recall: how many of the truly worst tenth of a model's layers are in the "
        "predicted worst tenth. In brackets the 95 % interval by drawing models anew. The rows behind the "
        "tables, layer by layer, are `results/rank_rows.csv`: `rank_tables.py` computes the tables from "
        "them.",
        *real_tools(results),
        *without_data(results),
        *encoder(results),
        *_groups(study["tables"], {each["model"]: each["border_gap"] for each in models}),
        *_calibration(results["calibration"]),
        *_allocation(results),
        *scans(results),
    ]
    return "\n\n".join(parts) + "\n"


def _range(models: list[dict[str, Any]]) -> str:
    """The least and the largest number of tokens, or the one that all have."""
    found = sorted({each["tokens"] for each in models})
    return " to ".join(map(str, dict.fromkeys((found[0], found[-1]))))


def _groups(tables: dict[str, Any], borders: dict[str, dict[str, float]]) -> list[str]:
    parts = []
    for group, kinds in tables.items():
        title = "The models trained by the study" if group == "zoo" else group
        parts.append(f"## {title}")
        for figure in ("overall", "within role", "worst tenth found"):
            shown = {kind: name for kind, name in FORMATS.items() if kind in kinds}
            lines = [
                f"| {_heading(figure)} | " + " | ".join(shown.values()) + " |",
                "| --- |" + " --- |" * len(shown),
            ]
            for score, label in {**OURS, **PEERS}.items():
                cells = [kinds[kind].get(score, {}).get(figure) for kind in shown]
                if all(cell is not None for cell in cells):
                    lines.append(f"| {label}{_of(cells, group)} | " + " | ".join(map(_cell, cells)) + " |")
            parts.append("\n".join(lines))
        if group in borders:
            gaps = ", ".join(f"{gap:.1%} ({FORMATS[kind]})" for kind, gap in borders[group].items())
            parts.append(
                f"How clear the border of {group}'s worst tenth is: measured, its last layer costs {gaps} "
                "more than the next one."
            )
    return parts


def _heading(figure: str) -> str:
    return {
        "overall": "Spearman's rho, all layers of a model",
        "within role": "Spearman's rho within roles (q, k, v, ...)",
        "worst tenth found": "recall of the worst tenth",
    }[figure]


def _of(cells: list[dict[str, float]], group: str) -> str:
    """How many models a mean is of."""
    return f", {cells[0].get('models', 0):.0f} models" if group == "zoo" else ""


def _cell(found: dict[str, float]) -> str:
    if found["mean"] != found["mean"]:
        return "-"
    return f"{found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _calibration(found: dict[str, Any]) -> list[str]:
    fitted, judged = found["fitted_on"], found["judged_on"]
    lines = [
        "| tier | Brier score | of the base rate | C: truly in the worst tenth | A: truly in it | "
        "measured damage in the 95 % interval | models: fitted, judged |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for tier, each in found["tiers"].items():
        lines.append(
            f"| {tier} | {each['brier']:.3f} | {each['brier_of_base_rate']:.3f} | "
            f"{_share(each['share_in_c'], each['layers_in_c'])} | "
            f"{_share(each['share_in_a'], each['layers_in_a'])} | {each['coverage']:.1%} | "
            f"{each['models_fitted']}, {each['models_judged']} |"
        )
    risk = [
        "| tier | A | of them A, B, C when measured | B | A, B, C | C | A, B, C |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for tier, each in found["grades_by_risk"].items():
        cells = []
        for grade in "ABC":
            counts = [each[f"{grade}, truly {truth}"] for truth in "ABC"]
            cells += [str(sum(counts)), ", ".join(map(str, counts))]
        risk.append(f"| {tier} | " + " | ".join(cells) + " |")
    return [
        "## Are the chances and the grades right?",
        f"The chance to be in the worst tenth was fitted on {len(fitted)} models and is judged here on "
        f"{len(judged)} others ({', '.join(judged)}). Grades by rank: C from a chance of 0.5 on, A up to "
        "0.02; `none` where no layer got the grade. The level of the weights alone is that of a model that "
        "learned for long: most models that the study trained lie below it, and outside its intervals.",
        "\n".join(lines),
        "Grades by risk, at their default limits of 0.001 and 0.01 nats per token, beside the grades "
        "that the "
        "measured damage would have got, layers of the judged models in all three formats:",
        "\n".join(risk),
    ]


def _share(share: float, count: int) -> str:
    return f"{share:.1%} of {count}" if count else "none"


def _allocation(results: dict[str, Any]) -> list[str]:
    parts = ["## Bits by risk, or the same bits everywhere?"]
    parts.append(
        "All layers quantized at once, judged on unseen text. Uniform bits: one format with a scale of "
        "16 bits "
        "for 32 weights, 3.5 or 4.5 bits exactly. The others mix int2 to int6 with a scale for 128 "
        "weights within "
        "the same bytes. The oracle measured the KL of each layer and format on the calibration text, "
        "one at a "
        "time; blind mixes are allocations by random risks, their mean. Gap closed: of the "
        "distance from "
        "uniform to the oracle."
    )
    if "allocation_smollm2" in results:
        parts.append(
            "SmolLM2's is made by `allocation_rows.py`: the study's risks and measured KL of int4 per "
            "channel, scaled to int3, int4 and int5 in groups of 128 by the squared steps, on another "
            "text than the oracle's, of 512 tokens."
        )
    for name in sorted(results):
        if name.startswith("allocation"):
            parts += _allocated(results[name])
    return parts


def _allocated(found: dict[str, Any]) -> list[str]:
    lines = [
        f"| {found['model']} | KL, nats per token | perplexity | gap closed |",
        "| --- | --- | --- | --- |",
    ]
    for bits, each in found["budgets"].items():
        judged = each["judged"]
        blind = [value for name, value in judged.items() if name.startswith("blind")]
        rows = {name: value for name, value in judged.items() if not name.startswith("blind")}
        for name, value in rows.items():
            gap = each["gap_closed"].get(name)
            lines.append(
                f"| {bits}, {name} | {value['kl']:.4f} | {value['perplexity']:.2f} | "
                f"{'' if gap is None else f'{gap:.0%}'} |"
            )
        mean = [sum(value[key] for value in blind) / len(blind) for key in ("kl", "perplexity")]
        lines.append(f"| {bits}, blind mixes | {mean[0]:.4f} | {mean[1]:.2f} | |")
    return [f"Measured on {found['device']}, torch {found['torch']}, {found['date']}.", "\n".join(lines)]


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(loaded()), encoding="utf-8")


if __name__ == "__main__":
    main()
