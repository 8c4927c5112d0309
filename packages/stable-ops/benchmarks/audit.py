"""Time of an audited forward over that of a plain one: python packages/stable-ops/benchmarks/audit.py

Interleaved, median; one thread. Models: MLP and encoder layers of usual widths.
"""

import statistics
import time

import torch
from torch import nn

from stable_ops.audit import audit

REPEATS = 9


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def models():
    torch.manual_seed(0)
    for width, tokens in ((256, 128), (512, 128), (512, 512), (768, 512)):
        mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        yield f"mlp width {width}, {tokens} tokens", mlp.eval(), torch.randn(1, tokens, width)
        layer = nn.TransformerEncoderLayer(width, 8, 4 * width, batch_first=True, norm_first=True)
        yield f"encoder layer width {width}, {tokens} tokens", layer.eval(), torch.randn(1, tokens, width)


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}; formats fp16 and bf16; milliseconds, median of {REPEATS}")
    for name, model, x in models():
        plain, audited = [], []
        with torch.no_grad():
            model(x)
            audit(model, x)
            for _ in range(REPEATS):
                plain.append(seconds(lambda m=model, x=x: m(x)))
                audited.append(seconds(lambda m=model, x=x: audit(m, x)))
        a, b = statistics.median(plain), statistics.median(audited)
        print(f"{name:38} plain {1e3 * a:8.1f}  audited {1e3 * b:8.1f}  ratio {b / a:5.2f}")


if __name__ == "__main__":
    main()
