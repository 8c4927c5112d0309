"""The rows of the study in one table: measured KL and every score, for each model, layer and format.

Run: python rank_rows.py STUDY [OUTPUT.csv] [--earlier ROWS.csv]
     (STUDY: the folder that rank_study.py and encoder_study.py filled)

`--earlier` adds the models of a table that was written when `rate` drew its own samples in four rounds for
all positions at once: those scores keep that name.

Beside the table `OUTPUT.models.json` holds what belongs to a model: recipe, loss, device, date. Numbers have
seven digits. `rank_tables.py` and `calibrate.py` read either this table or the folder.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

ROWS = Path(__file__).resolve().parent / "results" / "rank_rows.csv"
FIXED = ("model", "layer", "role", "shape", "format", "kl", "kl_stderr")
FOUR_ROUNDS = "own samples in four rounds"
WITHOUT_DATA = ("own samples", "random tokens")
ABOUT = (
    *("model", "family", "recipe", "formats", "loss", "training_loss", "tokens"),
    *("device", "torch", "date"),
)


def loaded(source: Path) -> list[dict[str, Any]]:
    """The models of a study, by name: from its folder, or from the table."""
    if source.is_dir():
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(source.glob("*.json"))]
    models = {
        each["model"]: {**each, "layers": {}}
        for each in json.loads(_beside(source).read_text(encoding="utf-8"))
    }
    with source.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            _put(models[row["model"]]["layers"], row)
    return [{**model, "layers": list(model["layers"].values())} for model in models.values()]


def _put(layers: dict[str, Any], row: dict[str, str]) -> None:
    empty = {"kl": {}, "kl_stderr": {}, "scores": {}}
    shape = [int(extent) for extent in row["shape"].split("x")]
    named = {"name": row["layer"], "role": row["role"], "shape": shape, **empty}
    layer, kind = layers.setdefault(row["layer"], named), row["format"]
    layer["kl"][kind], layer["kl_stderr"][kind] = float(row["kl"]), float(row["kl_stderr"])
    for score, value in row.items():
        if score not in FIXED and value:
            layer["scores"].setdefault(score, {})[kind] = float(value)


def _beside(table: Path) -> Path:
    return table.with_suffix(".models.json")


def written(models: list[dict[str, Any]], table: Path) -> int:
    """Write the table and what belongs to the models; the number of rows."""
    # Repetitions with other seeds ("text #1") and trials ("text, geometric mean") are not in the table.
    scores = sorted(
        {
            score
            for model in models
            for score in model["layers"][0]["scores"]
            if "#" not in score and "," not in score
        }
    )
    count = 0
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FIXED, *scores])
        for model in models:
            for layer in model["layers"]:
                for kind in model["formats"]:
                    numbers = [layer["kl"][kind], layer["kl_stderr"][kind]]
                    numbers += [_score(layer["scores"], score).get(kind) for score in scores]
                    names = [model["model"], layer["name"], layer["role"]]
                    names += ["x".join(map(str, layer["shape"])), kind]
                    writer.writerow([*names, *("" if each is None else f"{each:.7g}" for each in numbers)])
                    count += 1
    about = [{key: model.get(key) for key in ABOUT} for model in models]
    _beside(table).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return count


def _score(scores: dict[str, dict[str, float]], name: str) -> dict[str, float]:
    """Without data from as many tokens as `rate` reads, which are half of what the study reads."""
    half = scores.get(f"{name}, half of the tokens") if name in WITHOUT_DATA else None
    return half or scores.get(name, {})


def earlier(table: Path, known: set[str]) -> list[dict[str, Any]]:
    """The trained models of an earlier table that are not known, their own samples renamed."""
    models = [each for each in loaded(table) if each["recipe"] and each["model"] not in known]
    for model in models:
        for layer in model["layers"]:
            layer["scores"][FOUR_ROUNDS] = layer["scores"].pop("own samples")
    return models


def main() -> None:
    """Read a study's folder, write its table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("output", type=Path, nargs="?", default=ROWS)
    parser.add_argument("--earlier", type=Path)
    options = parser.parse_args()
    models = loaded(options.study)
    if options.earlier:
        models += earlier(options.earlier, {model["model"] for model in models})
    count, table = written(models, options.output), options.output
    print(f"{count} rows, {table.stat().st_size / 1e6:.2f} MB in {table}")


if __name__ == "__main__":
    main()
