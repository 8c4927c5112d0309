# ruff: noqa: T201 - a recipe: it prints its progress
"""Trains the reference model: short trials choose the learning rate, full runs the decay and dropout.

Run: python train.py --out OUT --trial-seconds 28 --run-seconds 125 --compile       (after tokenizer.py)
Dry run: python train.py --out OUT --steps 4 --batch 2 --device cpu

The number of steps of a run follows from its seconds and the measured time of a step, and is recorded in
training.json: `--steps N --rate R --decay W --dropout P` repeats one run on any machine.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model import Llama
from safetensors.torch import save_file
from shape import CONFIG
from torch import Tensor, nn

HERE = Path(__file__).parent
SEED = 20251122
CONTEXT = CONFIG["max_position_embeddings"]
RATES = (7.5e-4, 1.5e-3, 3e-3, 6e-3)
# (weight decay, dropout)
REGULARIZATION = ((0.1, 0.0), (1.0, 0.0), (0.3, 0.1), (1.0, 0.1), (0.5, 0.15))
EVALUATIONS = 40


@dataclass(frozen=True)
class Settings:
    """One run."""

    rate: float
    decay: float
    dropout: float
    batch: int
    steps: int = 0
    seconds: float = 0.0
    device: str = "cpu"
    compile: bool = False


@dataclass
class Result:
    """What a run measured: losses in nats per token; `weights` is the best checkpoint, float32 on the CPU."""

    settings: Settings
    curve: list[dict[str, float]]
    validation_loss: float
    wall_s: float
    tokens: int
    weights: dict[str, Tensor]

    def to_dict(self) -> dict[str, Any]:
        numbers = {key: getattr(self, key) for key in ("validation_loss", "wall_s", "tokens", "curve")}
        return {**asdict(self.settings), **numbers}


def windows(ids: Tensor, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches (batch, CONTEXT + 1) forever: each epoch shifts the cuts and shuffles the windows."""
    while True:
        shift = int(torch.randint(CONTEXT, (1,), generator=generator))
        count = (len(ids) - shift - 1) // CONTEXT
        starts = shift + CONTEXT * torch.randperm(count, generator=generator)
        span = torch.arange(CONTEXT + 1)
        for chunk in starts.split(batch)[: count // batch]:
            yield ids[(chunk[:, None] + span).to(ids.device)].long()


def loss_of(model: nn.Module, block: Tensor) -> Tensor:
    """Mean cross entropy of the next token, nats."""
    logits = model(block[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), block[:, 1:].flatten())


@torch.no_grad()
def validate(model: nn.Module, ids: Tensor, batch: int) -> float:
    """Mean loss over all whole windows of `ids`, in float32."""
    model.eval()
    count = (len(ids) - 1) // CONTEXT
    starts = CONTEXT * torch.arange(count)
    total = 0.0
    for chunk in starts.split(batch):
        block = ids[(chunk[:, None] + torch.arange(CONTEXT + 1)).to(ids.device)].long()
        total += float(loss_of(model, block)) * len(chunk)
    model.train()
    return total / count


def rate_at(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 4 % of the steps (200 at most), then a cosine down to nothing."""
    warm = max(1, min(200, steps // 25))
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW; the gains of the norms do not decay."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": settings.decay},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.95), fused=settings.device == "cuda")


def make_step(model: nn.Module, settings: Settings) -> Callable[[Tensor], Tensor]:
    """Function that computes the loss of a batch and its gradients, on a GPU under bfloat16 autocast."""
    compiled = torch.compile(loss_of) if settings.compile else loss_of

    def step(block: Tensor) -> Tensor:
        with torch.autocast(settings.device, dtype=torch.bfloat16, enabled=settings.device == "cuda"):
            loss = compiled(model, block)
        loss.backward()
        return loss.detach()

    return step


def steps_for(
    settings: Settings, step: Callable[[Tensor], Tensor], batches: Iterator[Tensor], params: list[Any]
) -> int:
    """Steps that fit into `settings.seconds`: times 20 once compiled; throws their gradients away."""
    for timed in (False, True):
        start = time.perf_counter()
        for _ in range(20):
            last = step(next(batches))
        float(last)  # waits for the device
        if timed:
            seconds = (time.perf_counter() - start) / 20
    for parameter in params:
        parameter.grad = None
    return max(50, int(settings.seconds / (seconds * 1.1)))  # the optimizer and the validation take the rest


def run(settings: Settings, data: dict[str, Tensor]) -> Result:
    """Trains once from the seed; stops at 1.3 times the seconds whatever happens."""
    torch.manual_seed(SEED)
    model = Llama(CONFIG, dropout=settings.dropout).to(settings.device)
    generator = torch.Generator().manual_seed(SEED)
    batches = windows(data["train"], settings.batch, generator)
    optimizer, step = make_optimizer(model, settings), make_step(model, settings)
    parameters = list(model.parameters())
    if not settings.steps:
        settings = replace(settings, steps=steps_for(settings, step, batches, parameters))
    start, curve, best, weights, recent = time.perf_counter(), [], math.inf, {}, []
    every = max(1, settings.steps // EVALUATIONS)
    for index in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(index, settings.steps, settings.rate)
        recent.append(step(next(batches)))
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        last = index + 1 == settings.steps
        if (index + 1) % every and not last:
            continue
        loss = validate(model, data["validation"], settings.batch)
        train_loss = float(torch.stack(recent).mean())
        recent, wall = [], time.perf_counter() - start
        curve.append({"step": index + 1, "train": train_loss, "validation": loss, "wall_s": wall})
        print(
            f"  step {index + 1}/{settings.steps} train {train_loss:.4f} validation {loss:.4f} {wall:.0f} s",
            flush=True,
        )
        if loss < best:
            best = loss
            weights = {
                name: value.detach().float().cpu().clone() for name, value in model.state_dict().items()
            }
        if settings.seconds and wall > 1.3 * settings.seconds:
            print("  stopped: out of time", flush=True)
            break
    tokens = curve[-1]["step"] * settings.batch * CONTEXT
    return Result(settings, curve, best, time.perf_counter() - start, int(tokens), weights)


def save(result: Result, others: list[Result], out: Path, device_name: str, train_tokens: int) -> None:
    """The float16 weights and training.json with every run's curve."""
    out.mkdir(parents=True, exist_ok=True)
    half = {name: value.half().contiguous() for name, value in result.weights.items()}
    save_file(half, out / "model.safetensors", metadata={"format": "pt"})
    record = {
        "seed": SEED,
        "train_tokens": train_tokens,
        "hardware": device_name,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "shipped": result.to_dict(),
        "others": [other.to_dict() for other in others if other is not result],
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def pair(text: str) -> tuple[float, float]:
    """The pair that a text such as 0.3,0.1 names."""
    decay, dropout = map(float, text.split(","))
    return decay, dropout


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=Path, default=HERE / ".data" / "tokens")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch", type=int, default=128, help="windows of 512 tokens per step")
    parser.add_argument("--trial-seconds", type=float, default=28.0)
    parser.add_argument("--run-seconds", type=float, default=125.0)
    parser.add_argument(
        "--budget", type=float, default=560.0, help="no new run starts that would end later than this"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="learning rates to try")
    parser.add_argument(
        "--pairs", type=pair, nargs="+", default=REGULARIZATION, help="decay,dropout of a run"
    )
    parser.add_argument("--steps", type=int, default=0, help="one run of this many steps instead")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--dropout", type=float, default=0.0)
    return parser.parse_args()


def main() -> None:
    begin, args = time.perf_counter(), arguments()
    torch.set_float32_matmul_precision("high")
    data = {
        split: torch.from_numpy(np.load(args.tokens / f"{split}.npy").astype(np.int32)).to(args.device)
        for split in ("train", "validation")
    }
    name = (
        torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
    )
    base = Settings(
        args.rate, args.decay, args.dropout, args.batch, args.steps, 0.0, args.device, args.compile
    )
    if args.steps:
        result = run(base, data)
        save(result, [], args.out, name, len(data["train"]))
        return
    results: list[Result] = []
    for rate in args.rates:
        print(f"trial: rate {rate}", flush=True)
        results.append(run(replace(base, rate=rate, seconds=args.trial_seconds), data))
    rate = min(results, key=lambda result: result.validation_loss).settings.rate
    for decay, dropout in args.pairs:
        left = args.budget - (time.perf_counter() - begin)
        seconds = min(args.run_seconds, (left - 25) / 1.15)  # 25 s to compile
        if seconds < 0.6 * args.run_seconds:
            print(f"left out for lack of time: decay {decay}, dropout {dropout}", flush=True)
            continue
        print(f"run: rate {rate}, decay {decay}, dropout {dropout}, {seconds:.0f} s", flush=True)
        results.append(run(replace(base, rate=rate, decay=decay, dropout=dropout, seconds=seconds), data))
        best = min(results, key=lambda result: result.validation_loss)
        save(best, results, args.out, name, len(data["train"]))
        print(
            f"best so far {best.validation_loss:.4f}; {time.perf_counter() - begin:.0f} s in all", flush=True
        )


if __name__ == "__main__":
    main()
