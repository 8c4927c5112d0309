"""Which way to rate without data: chosen on half of the zoo's families, judged on every other model.

Run: python ways_tables.py STUDY [OUTPUT.json]      (STUDY: the folder that rank_study.py filled)

The merit of a way is the mean, over formats and the models to choose on, of Spearman's rho over all layers
plus that within roles. Another way than the plain one, which costs the least, is chosen only where its lead
has a 95 % interval above 0, by drawing models anew. The table has every way on the models it was not chosen
on; of the zoo those that were scored in every way.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from calibrate import split
from rank_rows import ROWS, loaded
from rank_tables import AS_SAMPLED, agreements, figures, interval
from ways import WAYS

RESULT = ROWS.with_name("ways.json")
FIGURES = ("overall", "within role", "worst tenth found")
PLAIN = "own samples"  # what `rate` does
TRIALS = ("", ", geometric mean", ", half of the tokens")


def judged(models: list[dict[str, Any]], score: str) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by format, with intervals by drawing models, or the layers of one model, anew."""
    return {kind: figures(models, score + AS_SAMPLED, kind) for kind in models[0]["formats"]}


def merits_of(models: list[dict[str, Any]], score: str) -> list[float]:
    """What the choice goes by, of each model."""
    found = [agreements(models, score + AS_SAMPLED, kind) for kind in models[0]["formats"]]
    return np.mean([np.add(each["overall"], each["within role"]) for each in found], 0).tolist()


def main() -> None:
    """Choose, judge, print, write."""
    models = loaded(Path(sys.argv[1]))
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else RESULT
    trained = [
        model for model in models if model.get("recipe") and set(WAYS) <= set(model["layers"][0]["scores"])
    ]
    trained = [model for model in trained if model["recipe"]["steps"]]
    chosen_on = [model for model in split(models)[0] if model in trained]
    groups = {
        "chosen on": chosen_on,
        "zoo": [model for model in trained if model not in chosen_on],
        **{model["model"]: [model] for model in models if not model.get("recipe")},
    }
    scores = ["text", *(way + trial for way in WAYS for trial in TRIALS)]
    tables: dict[str, Any] = {score: {} for score in scores}
    for score in scores:
        for group, members in groups.items():
            if all(score in model["layers"][0]["scores"] for model in members):
                tables[score][group] = judged(members, score)
    every = {score: merits_of(chosen_on, score) for score in scores if score != "text"}
    merits = {score: float(np.mean(found)) for score, found in every.items()}
    best = max(merits, key=lambda score: merits[score])
    lead = interval(np.subtract(every[best], every[PLAIN]).tolist())
    for score in sorted(merits, key=lambda score: -merits[score]):
        print(f"{merits[score]:.4f} {score}")
        for group, kinds in tables[score].items():
            cells = [" / ".join(f"{each[name]['mean']:.3f}" for name in FIGURES) for each in kinds.values()]
            print(f"    {group:18s} {'   '.join(cells)}")
    first = groups["zoo"][0]
    result = {
        **{key: first[key] for key in ("device", "torch", "date")},
        "command": "ways_tables.py STUDY",
        "best": best,
        "lead": lead,
        "chosen": best if lead["low"] > 0 else PLAIN,
        "merit": merits,
        "chosen_on": [model["model"] for model in chosen_on],
        "judged_on": {group: [each["model"] for each in members] for group, members in groups.items()},
        "tables": tables,
    }
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
