"""Which way to rate without data: chosen on half of the zoo's families, judged on every other model.

Run: python ways_tables.py STUDY [OUTPUT.json]      (STUDY: the folder that rank_study.py filled)

The choice is the largest mean, over formats and the models to choose on, of Spearman's rho over all layers
plus that within roles. The table has every way on the models it was not chosen on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from calibrate import split
from rank_rows import ROWS, loaded
from rank_tables import figures
from ways import WAYS

RESULT = ROWS.with_name("ways.json")
FIGURES = ("overall", "within role", "worst tenth found")
TRIALS = ("", ", geometric mean", ", half of the tokens")


def judged(models: list[dict[str, Any]], score: str) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by format, with intervals by drawing models, or the layers of one model, anew."""
    return {kind: figures(models, score, kind) for kind in models[0]["formats"]}


def merit(found: dict[str, dict[str, dict[str, float]]]) -> float:
    """What the choice goes by."""
    return float(np.mean([each["overall"]["mean"] + each["within role"]["mean"] for each in found.values()]))


def main() -> None:
    """Choose, judge, print, write."""
    models = loaded(Path(sys.argv[1]))
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else RESULT
    chosen_on = [model for model in split(models)[0] if model.get("recipe")]
    trained = [model for model in models if model.get("recipe") and model["recipe"]["steps"]]
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
    merits = {score: merit(tables[score]["chosen on"]) for score in scores if score != "text"}
    best = max(merits, key=lambda score: merits[score])
    for score in sorted(merits, key=lambda score: -merits[score]):
        print(f"{merits[score]:.4f} {score}")
        for group, kinds in tables[score].items():
            cells = [" / ".join(f"{each[name]['mean']:.3f}" for name in FIGURES) for each in kinds.values()]
            print(f"    {group:18s} {'   '.join(cells)}")
    first = groups["zoo"][0]
    result = {
        **{key: first[key] for key in ("device", "torch", "date")},
        "command": "ways_tables.py STUDY",
        "chosen": best,
        "merit": merits,
        "chosen_on": [model["model"] for model in chosen_on],
        "judged_on": {group: [each["model"] for each in members] for group, members in groups.items()},
        "tables": tables,
    }
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
