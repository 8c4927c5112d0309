"""Time of a forward pass of transformers models before and after `stable_ops.patch`, on a GPU.

    cd packages/stable-ops/benchmarks
    python patch.py --output results.json
    python patch.py --show results/patch_h200.json

Random weights, bf16, four layers of the widths of Llama 3.2 1B, OPT 1.3B, Gemma 2B and GPT-2 medium; medians.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
from pathlib import Path
from typing import Any

PREFILL = {"rows": 4, "tokens": 2048, "cached": 0}
DECODE = {"rows": 16, "tokens": 1, "cached": 1024}


def configs() -> dict[str, Any]:
    """Four layers of well-known models."""
    import transformers

    return {
        "Llama": transformers.LlamaConfig(
            hidden_size=2048, intermediate_size=8192, num_attention_heads=32, num_key_value_heads=8,
            num_hidden_layers=4, vocab_size=32000,
        ),
        "OPT": transformers.OPTConfig(
            hidden_size=2048, ffn_dim=8192, num_attention_heads=32, num_hidden_layers=4, vocab_size=32000,
            word_embed_proj_dim=2048,
        ),
        "Gemma": transformers.GemmaConfig(
            hidden_size=2048, intermediate_size=16384, num_attention_heads=8, num_key_value_heads=1,
            head_dim=256, num_hidden_layers=4, vocab_size=32000,
        ),
        "GPT-2": transformers.GPT2Config(
            n_embd=1024, n_head=16, n_layer=4, n_positions=4096, vocab_size=32000,
            bos_token_id=0, eos_token_id=0,
        ),
    }  # fmt: skip


def step(model: Any, rows: int, tokens: int, cached: int) -> Any:
    """A function that runs the model once on the same tokens, after as many as are cached."""
    import torch
    from transformers import DynamicCache

    generator = torch.Generator("cuda").manual_seed(0)

    def draw(count: int) -> Any:
        return torch.randint(3, 32000, (rows, count), generator=generator, device="cuda")

    ids, cache = draw(tokens), None
    if cached:
        cache = DynamicCache()
        model(draw(cached), past_key_values=cache, use_cache=True)

    def run() -> None:
        model(ids, past_key_values=cache, use_cache=cache is not None, logits_to_keep=1)
        if cache is not None:
            cache.crop(-tokens)

    return run


def milliseconds(run: Any) -> float:
    """One run by CUDA events, the launch of its kernels included."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


def measure(family: str, config: Any, attention: str, work: dict[str, int], repeats: int) -> dict[str, Any]:
    """Median milliseconds of the model as it is and patched, in turns."""
    import torch
    from transformers import AutoModelForCausalLM

    from stable_ops.drop_in import patch

    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.bfloat16)
    model.eval()
    run = step(model, **work)
    times: dict[str, list[float]] = {"original_ms": [], "patched_ms": []}
    for i in range(repeats + 3):
        before = milliseconds(run)
        with patch(model) as patched:
            after = milliseconds(run)
        if i >= 3:  # compilation and warm-up
            times["original_ms"].append(before)
            times["patched_ms"].append(after)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "model": family, "attention": attention, **work, "replaced": len(patched.report.replaced), **medians,
        "speed_up": medians["original_ms"] / medians["patched_ms"],
    }  # fmt: skip


def show(results: dict[str, Any]) -> str:
    """The rows as a table."""
    lines = [f"{results['device']}, torch {results['torch']}, transformers {results['transformers']}"]
    lines.append(
        f"{'model':8}{'attention':11}{'rows x tokens':>15}{'original':>11}{'patched':>11}{'faster':>8}"
    )
    for row in results["rows"]:
        size = f"{row['rows']} x {row['tokens']}"
        lines.append(
            f"{row['model']:8}{row['attention']:11}{size:>15}{row['original_ms']:>8.2f} ms"
            f"{row['patched_ms']:>8.2f} ms{row['speed_up']:>8.2f}"
        )
    return "\n".join(lines)


def markdown(results: dict[str, Any]) -> str:
    """The rows as the guide shows them."""
    lines = [
        "| model | attention | sequences x tokens | as it is | patched | times as fast |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in results["rows"]:
        work = f"{row['rows']} x {row['tokens']}"
        if row["cached"]:
            work += f" after {row['cached']:,}"
        lines.append(
            f"| {row['model']} | {row['attention']} | {work} | {row['original_ms']:.2f} ms | "
            f"{row['patched_ms']:.2f} ms | {row['speed_up']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="write the numbers as JSON")
    parser.add_argument("--show", type=Path, help="print a file written earlier, and measure nothing")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--markdown", type=Path, help="print the table of a file written earlier")
    options = parser.parse_args()
    if options.show:
        print(show(json.loads(options.show.read_text(encoding="utf-8"))))
        return
    if options.markdown:
        print(markdown(json.loads(options.markdown.read_text(encoding="utf-8"))))
        return
    import torch
    import transformers

    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": "python packages/stable-ops/benchmarks/patch.py --output FILE",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "rows": [],
    }
    with torch.no_grad():
        for family, config in configs().items():
            for work in (PREFILL, DECODE):
                for attention in ("eager", "sdpa"):
                    results["rows"].append(measure(family, config, attention, work, options.repeats))
                    if options.output:
                        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(show(results))


if __name__ == "__main__":
    main()
