"""The methods beside each other on the fixed windows of the Brown corpus, or on the bundled texts.

    uv run python packages/svd-compress/benchmarks/perplexity.py model.gguf --brown brown.txt [--device cuda]
    uv run python packages/svd-compress/benchmarks/perplexity.py reference [--heal 1]

`brown.txt` is written by brown.py. In-domain are the judged windows of the same source as the calibration
windows, the other domain is the bundled out-of-domain text. Prints a table; `--record NAME` stores every row
as it is measured, and with `--work FOLDER` a second run measures only what the first had not.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import brown
from recording import record

from checkpoint_lens import load_model, open_checkpoint, read_text
from checkpoint_lens.windows import Window
from mfi_command.render import to_markdown
from svd_compress.bench import Bench, Texts
from svd_compress.comparing import compare
from svd_compress.compression import open_bench
from svd_compress.latency import device_name
from svd_compress.telling import comparison_report
from svd_compress.texts import spread_windows, two_texts
from svd_compress.words import shares, stages

# The other domain is shown, not judged: fewer windows than the eight fixed ones do.
OTHER_WINDOWS = 4
# Of each bundled text; its windows are spread over all of it.
JUDGED_TOKENS = 8192


def brown_bench(model, tokens, device, progress=lambda stage, done, total: None, fitted_windows=brown.FITTED):
    """The fixed windows; `tokens` is the corpus as text, or a .npy file of its tokens.

    Of the calibration windows so many are taken, evenly: on a CPU the moments of all of them take half an
    hour.
    """
    loaded = load_model(model).to(device)
    path = Path(tokens)
    if path.suffix == ".npy":
        ids = np.load(path).astype(np.int64)
    else:
        ids = np.array(loaded.tokenizer.encode(path.read_text(encoding="utf-8")))
    judged, fitted = ([Window(part, 1, 0) for part in parts] for parts in brown.split(ids))
    fitted = fitted[:: len(fitted) // fitted_windows]
    near = {part.ids.tobytes() for part in judged}
    every = [ids[i : i + brown.CONTEXT] for i in range(0, len(ids) - brown.CONTEXT, brown.CONTEXT)]
    train = [Window(part, 1, 0) for part in every if part.tobytes() not in near]
    other = spread_windows(
        loaded,
        read_text("reference:out-of-domain"),
        context=brown.CONTEXT,
        max_tokens=OTHER_WINDOWS * brown.CONTEXT,
    )
    texts = Texts(fitted, [], judged, other, train)
    return Bench(loaded, open_checkpoint(model), layer="*", texts=texts, layout="two", progress=progress)


def bench_of(arguments, progress):
    """The model with its texts: the fixed windows, or the bundled texts whole."""
    if arguments.brown:
        return brown_bench(arguments.model, arguments.brown, arguments.device, progress, arguments.fitted)
    texts = two_texts("reference:calibration", "reference:in-domain")
    other = read_text("reference:out-of-domain")
    return open_bench(
        arguments.model, texts, other, layer="*", layout="two", context=256, tokens=(16384, JUDGED_TOKENS),
        device=arguments.device, progress=progress,
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--brown")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fitted", type=int, default=brown.FITTED, help="calibration windows of the corpus")
    parser.add_argument("--keeps", default="0.9,0.8,0.6")
    parser.add_argument("--heal", type=float, default=0.0, help="minutes at each share")
    parser.add_argument("--heal-keeps", help="shares that are healed, all by default")
    parser.add_argument("--refine", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--work", help="folder of what is measured already")
    parser.add_argument("--losses-only", action="store_true", help="keep no factors there, only losses")
    parser.add_argument("--record")
    arguments = parser.parse_args()
    keeps = shares(arguments.keeps)
    told = []

    def tell(row):
        told.append(row)
        if arguments.record:
            record(
                arguments.record, device_name(arguments.device), threads=torch.get_num_threads(),
                model=Path(arguments.model).name, dense=[row.in_domain.before, row.other_domain.before],
                calibration_windows=len(bench.texts.fit),
                windows=[len(bench.texts.judge), len(bench.texts.other)],
                tokens_a_window=len(bench.texts.judge[0].ids), heal_minutes=arguments.heal,
                rows=[item.to_dict() for item in told],
            )  # fmt: skip
        print(
            f"{row.method:20} {row.layout:8} keep {row.keep:g} kept {row.kept:.4f} "
            f"in-domain {row.in_domain.after:.2f} "
            f"(rise {row.in_domain.low:+.2f} to {row.in_domain.high:+.2f}) "
            f"other {row.other_domain.after:.2f}",
            flush=True,
        )

    with stages() as progress:
        bench = bench_of(arguments, progress)
        rows = compare(
            bench, keeps, refine=arguments.refine, heal_minutes=arguments.heal,
            heal_keeps=shares(arguments.heal_keeps) if arguments.heal_keeps else None,
            work=arguments.work, keep_factors=not arguments.losses_only, on_row=tell,
        )  # fmt: skip
    print(to_markdown("Methods", comparison_report(rows)))


if __name__ == "__main__":
    main()
