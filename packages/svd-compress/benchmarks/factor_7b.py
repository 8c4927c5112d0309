"""How long factoring the 224 linear layers of a 7B model takes on a GPU.

    uv run python packages/svd-compress/benchmarks/factor_7b.py [--blocks 32] [--device cuda] [--record
    factor_7b]

Shapes of LLaMA-7B (hidden 4096, feed-forward 11008), random weights, second moments of random inputs with a
falling spectrum: the time does not depend on the values. Whitened by inputs, each layer at every rank.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from recording import record

from svd_compress.factoring import factor
from svd_compress.latency import device_name

HIDDEN, FEED_FORWARD = 4096, 11008
STEPS = (
    (HIDDEN, [(HIDDEN, HIDDEN)] * 3),
    (HIDDEN, [(HIDDEN, HIDDEN)]),
    (HIDDEN, [(FEED_FORWARD, HIDDEN)] * 2),
    (FEED_FORWARD, [(HIDDEN, FEED_FORWARD)]),
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=32)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--record")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    arguments = parser.parse_args()
    device = arguments.device
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, device=device)

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    def moment(size):
        x = draw(4096, size) * torch.logspace(0, -2, size, device=device)
        return (x.T @ x).double() / 4096

    factor(draw(256, 256), moment(256), floor=1e-6)
    wait()
    start, done, times = time.perf_counter(), 0, []
    for block in range(arguments.blocks):
        for size, shapes in STEPS:
            gram = moment(size)
            for shape in shapes:
                begin = time.perf_counter()
                found = factor(draw(*shape) * 0.02, gram, floor=1e-6)
                assert bool(torch.isfinite(found.energies).all())
                wait()
                times.append((shape, time.perf_counter() - begin))
                done += 1
        took = time.perf_counter() - start
        print(f"block {block + 1}: {done} layers in {took:.1f} s", flush=True)
        if took > arguments.seconds:
            break
    by_shape = {
        str(shape): sum(t for s, t in times if s == shape) / sum(s == shape for s, _ in times)
        for shape in {s for s, _ in times}
    }
    whole = (time.perf_counter() - start) / done * 224
    print(by_shape, f"{done} layers measured; 224 layers take {whole:.0f} s")
    if arguments.record:
        record(
            arguments.record,
            device_name(device),
            layers=done,
            seconds=time.perf_counter() - start,
            seconds_for_224=whole,
            mean_s=by_shape,
        )


if __name__ == "__main__":
    main()
