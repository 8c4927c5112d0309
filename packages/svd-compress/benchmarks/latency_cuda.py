"""Dense against factored on a GPU, for one token and for 2,048, beside what bytes and operations allow.

    uv run python packages/svd-compress/benchmarks/latency_cuda.py [--record latency_h200]

Ranks are aligned to 64 at a quarter, a half and three quarters of the largest that saves. Weights are
bfloat16 and cold: every call of a captured graph reads its own. Prints the median share of the bound for each
number of tokens.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from recording import record

from svd_compress import break_even_rank
from svd_compress.latency import device_name, measure

SHAPES = ((4096, 4096), (4096, 14336), (7168, 28672))
SHARES = (0.25, 0.5, 0.75)
ALIGNED = 64


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record")
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    rows, summary = [], {}
    for layout in ("two", "pivoted"):
        for tokens in (1, 2048):
            shares = []
            for shape in SHAPES:
                largest = break_even_rank(*shape) if layout == "two" else min(shape)
                ranks = [int(share * largest) // ALIGNED * ALIGNED for share in SHARES]
                for row in measure(
                    shape, ranks, tokens, layout=layout, device="cuda", dtype="bfloat16",
                    rounds=arguments.rounds,
                ):  # fmt: skip
                    rows.append(row)
                    shares.append(row.speed_up.median / row.bound)
                    print(
                        f"{layout:8} {tokens:5} tokens {row.shape[0]}x{row.shape[1]} rank {row.rank:5} "
                        f"{row.kernel:9} dense {row.dense_s * 1e6:7.1f} us "
                        f"factored {row.factored_s * 1e6:7.1f} us "
                        f"x{row.speed_up.median:.2f} ({row.speed_up.low:.2f} to {row.speed_up.high:.2f}) "
                        f"{shares[-1]:.2f} of the bound {row.bound:.2f}: {row.verdict}",
                        flush=True,
                    )
            summary[f"{layout}, {tokens} tokens"] = statistics.median(shares)
            print(
                f"{layout}, {tokens} tokens: median {summary[f'{layout}, {tokens} tokens']:.3f} of the bound"
            )
            if arguments.record:
                record(
                    arguments.record, device_name("cuda"), median_share_of_bound=summary,
                    rows=[row.to_dict() for row in rows],
                )  # fmt: skip


if __name__ == "__main__":
    main()
