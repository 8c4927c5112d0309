"""Time of an audited forward over that of a plain one: python packages/stable-ops/benchmarks/audit.py [FILE]

Interleaved; processor time of one thread, the shortest run of each kind. MLPs and encoder layers from tiny
to usual widths, in the formats fp16 and bf16; the first audit of each, which fills caches, is not timed.
"watched" is a run in which torch calls us for every module, function and operation and nothing is judged:
what any audit of single operations pays. With FILE the rows are written there as JSON.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from stable_ops.audit import audit
from stable_ops.bench.cpu import _device as device_name

REPEATS = (21, 301)
ENOUGH_S = 1.5
SIZES = (
    (64, 64),
    (128, 64),
    (128, 128),
    (256, 64),
    (256, 128),
    (384, 128),
    (512, 128),
    (512, 512),
    (768, 512),
)


def seconds(call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def models():
    torch.manual_seed(0)
    for width, tokens in SIZES:
        mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        yield "mlp", width, tokens, mlp.eval(), torch.randn(1, tokens, width)
        layer = nn.TransformerEncoderLayer(width, 8, 4 * width, batch_first=True, norm_first=True)
        yield "encoder layer", width, tokens, layer.eval(), torch.randn(1, tokens, width)


class Operations(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as the audit does: the import of torch's compiler alone makes every call slower

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Functions(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def watch(model, x) -> None:
    hooks = [child.register_forward_pre_hook(lambda *_: None) for child in model.modules()]
    hooks += [child.register_forward_hook(lambda *_: None) for child in model.modules()]
    with Operations(), Functions():
        model(x)
    for hook in hooks:
        hook.remove()


def measure(model, x) -> dict[str, float]:
    plain, watched, audited = [], [], []
    with torch.no_grad():
        model(x)
        audit(model, x)
        while len(plain) < REPEATS[0] or (len(plain) < REPEATS[1] and sum(audited) < ENOUGH_S):
            plain.append(seconds(lambda: model(x)))
            watched.append(seconds(lambda: watch(model, x)))
            audited.append(seconds(lambda: audit(model, x)))
    # Whatever else the machine does only adds time, through the caches.
    return {
        "plain_ms": 1e3 * min(plain),
        "watched_ms": 1e3 * min(watched),
        "audited_ms": 1e3 * min(audited),
        "ratio": min(audited) / min(plain),
    }


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}; fp16, bf16; ms, shortest of {REPEATS[0]} to {REPEATS[1]}")
    rows = []
    for kind, width, tokens, model, x in models():
        row = {"model": kind, "width": width, "tokens": tokens, **measure(model, x)}
        rows.append(row)
        print(
            f"{kind:14} width {width:4}, {tokens:4} tokens  plain {row['plain_ms']:7.2f}"
            f"  watched {row['watched_ms']:7.2f}  audited {row['audited_ms']:7.2f}  ratio {row['ratio']:5.2f}"
        )
    if len(sys.argv) > 1:
        record = {
            "device": device_name(),
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "command": "benchmarks/audit.py",
            "torch": torch.__version__,
            "threads": 1,
            "repeats": REPEATS,
            "rows": rows,
        }
        Path(sys.argv[1]).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
