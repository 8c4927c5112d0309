"""Twenty random runs under a perplexity budget: is the rise inside it on text that took no part at all?

    uv run python packages/svd-compress/benchmarks/budgets.py [--runs 20] [--processes 1] [--record budgets]
    uv run python packages/svd-compress/benchmarks/budgets.py --model model.gguf --device cuda --runs 6

Each run draws what may be factored (all of the model or one kind of its layers), a budget and a seed.
`compress` calibrates on a part of the bundled calibration text and proves its answer on one half of the
in-domain text; the rise is then measured on the other half, which no run has read. Prints a line a run and
how many kept their budget.
"""

import argparse
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from recording import record

from checkpoint_lens import load_model, read_text
from svd_compress import compress, load_compressed
from svd_compress.evaluation import losses, paired_rise
from svd_compress.latency import device_name
from svd_compress.texts import spread_windows

LAYERS = ("*", "*self_attn*", "*mlp*", "model.layers.[0-3].*", "model.layers.[4-7].*")
CONTEXT, JUDGED_TOKENS, PIECES = 256, 16384, 64


def halves(text):
    """Alternate pieces of some three thousand characters: both halves have every subject.

    In eighths of the text, as a first version had it, the halves were of other subjects, and
    rises on them differed by more than any interval over windows can know.
    """
    cuts = [len(text) * i // PIECES for i in range(PIECES + 1)]
    parts = [text[a:b] for a, b in pairwise(cuts)]
    return "\n".join(parts[::2]), "\n".join(parts[1::2])


def run(number, folder, model, device):
    """One random run; what it asked for and what came of it."""
    rest = (folder / "rest.txt").read_text(encoding="utf-8")
    rng = np.random.default_rng(number)
    layer = str(rng.choice(LAYERS))
    budget = float(np.round(10 ** rng.uniform(-0.9, 0.6), 3))
    layout = str(rng.choice(["pivoted", "two"]))
    output = folder / str(number)
    result = compress(
        model, calibration="reference:calibration", evaluate=folder / "proof.txt", output=output,
        max_ppl_rise=budget, layer=layer, layout=layout, context=CONTEXT,
        calibration_tokens=int(rng.integers(6, 13)) * 1024, evaluation_tokens=JUDGED_TOKENS, faster_at=0,
        seed=int(rng.integers(1000)), device=device,
    )  # fmt: skip
    rise = None
    if result.feasible:
        dense = load_model(model).to(device)
        held_out = spread_windows(dense, rest, context=CONTEXT, max_tokens=JUDGED_TOKENS)
        rise = paired_rise(losses(dense, held_out), losses(load_compressed(output).to(device), held_out))
    inside = rise is None or rise.rise <= budget
    return {
        "run": number, "layer": layer, "layout": layout, "budget": budget, "feasible": result.feasible,
        "kept": result.kept, "proved_rise": result.rise, "proved_high": float(result.rise_high or 0.0),
        "held_out_rise": rise and rise.rise, "inside": inside,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--model", default="reference")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time")
    parser.add_argument("--record")
    arguments = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        proof, rest = halves(read_text("reference:in-domain"))
        for name, half in (("proof.txt", proof), ("rest.txt", rest)):
            (folder / name).write_text(half, encoding="utf-8")
        # Spawned: a fork of a process whose torch has threads may hang.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(arguments.processes, mp_context=spawn) as pool:
            where = arguments.model, arguments.device
            numbers = range(arguments.first, arguments.first + arguments.runs)
            for done in as_completed([pool.submit(run, number, folder, *where) for number in numbers]):
                runs.append(done.result())
                print(runs[-1], flush=True)
                inside, feasible = (sum(item[key] for item in runs) for key in ("inside", "feasible"))
                if arguments.record:
                    runs.sort(key=lambda item: item["run"])
                    record(
                        arguments.record, device_name(arguments.device), model=Path(arguments.model).name,
                        inside=inside, feasible=feasible, runs=runs,
                    )  # fmt: skip
    print(f"{inside} of {len(runs)} inside the budget on held-out text; {feasible} were feasible")


if __name__ == "__main__":
    main()
