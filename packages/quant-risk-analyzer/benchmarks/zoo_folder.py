"""One model of the zoo's families, trained on a CPU and saved as a folder that every tool can open.

Run: python zoo_folder.py TOKENS.npy FOLDER --family gpt2 --width 128 --blocks 8 --seed 200 [--steps 500]

`TOKENS.npy` is from `zoo_text.py`. The folder is in Hugging Face's layout, with the reference model's
tokenizer: `rank_study.py model`, `peers_real.py`, `allocation_study.py` and `rate` read it. The recipe and
the training loss are in its `recipe.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import zoo


def main() -> None:
    """Train, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tokens", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", required=True)
    for name, value in {"width": 128, "blocks": 8, "seed": 200, "steps": 500, "batch": 16}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = vars(parser.parse_args())
    tokens, folder = np.load(options.pop("tokens")), options.pop("folder")
    recipe = zoo.Recipe(**options)
    started = time.perf_counter()
    model, loss = zoo.trained(recipe, tokens, "cpu")
    seconds = time.perf_counter() - started
    from checkpoint_lens.bundled import reference_path

    model.save_pretrained(folder)
    shutil.copy(reference_path() / "tokenizer.json", folder)
    facts = {"training_loss": loss, "training_s": seconds, "device": "CPU", "torch": torch.__version__}
    about = {"recipe": dataclasses.asdict(recipe), **facts, "date": time.strftime("%Y-%m-%d")}
    (folder / "recipe.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(recipe.name, about)


if __name__ == "__main__":
    main()
