"""The tables of the study: every score's rank agreement with the measured damage, over models and formats.

Run: python rank_tables.py [ROWS RESULT.json]
     (by default from results/rank_rows.csv to results/rank_study.json; ROWS may be the folder that
     rank_study.py filled; after calibrate.py, whose constants the tier of the weights alone takes)

For each score, format and group of models: the mean over the models of Spearman's rho over all layers, within
roles, and of the recall of the worst tenth, with a 95 % interval by drawing models anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rank_rows import ROWS, loaded

from quant_risk_analyzer.agreement import rank_agreement
from quant_risk_analyzer.weights_only import weight_risk

DRAWS = 4000
ROLE_TABLE = "role names (perfect table)"
WEIGHTS = "weights only"


def learned(model: dict[str, Any]) -> bool:
    """Not one of the controls, whose weights are the random first ones."""
    return (model.get("recipe") or {}).get("steps", 1) > 0


def damage(model: dict[str, Any], kind: str) -> dict[str, float]:
    """Measured KL by layer, nats per token."""
    return {layer["name"]: layer["kl"][kind] for layer in model["layers"]}


def predicted(model: dict[str, Any], score: str, kind: str) -> dict[str, float]:
    """What a score says by layer; the perfect table of role names knows the mean damage of each role."""
    if score == ROLE_TABLE:
        by_role: dict[str, list[float]] = {}
        for layer in model["layers"]:
            by_role.setdefault(layer["role"], []).append(layer["kl"][kind])
        return {layer["name"]: float(np.mean(by_role[layer["role"]])) for layer in model["layers"]}
    if score == WEIGHTS:
        errors = predicted(model, "weight relative error", kind)
        return {layer["name"]: weight_risk(errors[layer["name"]], layer["role"]) for layer in model["layers"]}
    return {layer["name"]: layer["scores"][score][kind] for layer in model["layers"]}


def agreements(models: list[dict[str, Any]], score: str, kind: str) -> dict[str, list[float]]:
    """Overall, within-role and recall of each model."""
    found: dict[str, list[float]] = {"overall": [], "within role": [], "worst tenth found": []}
    for model in models:
        roles = {layer["name"]: layer["role"] for layer in model["layers"]}
        each = rank_agreement(predicted(model, score, kind), damage(model, kind), roles)
        found["overall"].append(each.overall)
        found["within role"].append(each.within_role)
        found["worst tenth found"].append(each.top_decile_recall)
    return found


def interval(values: list[float]) -> dict[str, float]:
    """Mean over the models, its 95 % interval, and the least."""
    data = np.array(values)
    data = data[np.isfinite(data)]
    if not len(data):
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "least": float("nan")}
    generator = np.random.default_rng(0)
    means = data[generator.integers(0, len(data), (DRAWS, len(data)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "mean": float(data.mean()),
        "low": float(low),
        "high": float(high),
        "least": float(data.min()),
    }


def groups(models: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The zoo together, and each other model alone."""
    found = {"zoo": [model for model in models if model.get("recipe") and learned(model)]}
    return {**found, **{model["model"]: [model] for model in models if not model.get("recipe")}}


def tables(models: list[dict[str, Any]]) -> dict[str, Any]:
    """Group, format, score, figure."""
    found: dict[str, Any] = {}
    for group, members in groups(models).items():
        if not members:
            continue
        every = [set(model["layers"][0]["scores"]) for model in members]
        common = set.intersection(*every)
        scores = [name for name in members[0]["layers"][0]["scores"] if name in common]
        scores += [WEIGHTS, ROLE_TABLE]
        found[group] = {
            kind: {
                score: {name: interval(values) for name, values in agreements(members, score, kind).items()}
                for score in scores
            }
            for kind in members[0]["formats"]
        }
    return found


def main() -> None:
    """Read, summarise, print, write."""
    source, target = map(Path, sys.argv[1:] or (ROWS, ROWS.with_name("rank_study.json")))
    models = loaded(source)
    found = tables(models)
    for group, kinds in found.items():
        for kind, scores in kinds.items():
            print(f"\n{group}, {kind}: overall / within role / worst tenth found (least of the models)")
            ordered = sorted(
                scores, key=lambda score: -np.nan_to_num(scores[score]["within role"]["mean"], nan=-2)
            )
            for score in ordered:
                cells = [
                    f"{each['mean']:5.2f} [{each['low']:.2f}, {each['high']:.2f}] ({each['least']:.2f})"
                    for each in scores[score].values()
                ]
                print(f"  {score:48s} {'   '.join(cells)}")
    first = next(model for model in models if model.get("recipe"))
    about = {key: first[key] for key in ("device", "torch", "date")}
    listed = [
        {
            "model": model["model"],
            "layers": len(model["layers"]),
            "loss": model["loss"],
            "training_loss": model.get("training_loss"),
            "recipe": model.get("recipe"),
            "tokens": model["tokens"],
        }
        for model in models
    ]
    command = "rank_study.py, rank_rows.py, rank_tables.py"
    result = {**about, "command": command, "models": listed, "tables": found}
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
