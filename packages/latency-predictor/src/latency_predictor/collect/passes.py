"""Whole passes of models with random weights: our loop in a CUDA graph, compiled, or plain, and
transformers.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Mapping
from typing import Any

from latency_predictor.collect.decoder import Decoder, as_written, compiled
from latency_predictor.collect.timer import Timing, captured, host_s, issue_s, replayed, wall
from mfi_command import require
from roofline import analyze, model_shape, read_config

# In this order, so that a run cut short has every family and OPT-30B, which others are judged on.
MODELS = {
    "cuda": (
        "opt-1.3b", "llama-3.2-1b", "qwen2.5-0.5b", "opt-6.7b", "llama-3-8b", "qwen2.5-7b", "opt-30b",
        "opt-13b", "qwen3-8b", "llama-2-13b", "opt-2.7b", "llama-3.2-3b", "qwen2.5-32b", "mistral-7b",
        "llama-2-7b",
    ),
    "cpu": ("smollm2-135m", "opt-125m", "qwen2.5-0.5b"),
}  # fmt: skip
STACKS = {"cuda": ("cuda-graph", "compiled", "eager"), "cpu": ("loop", "eager")}
# (sequences, positions): of a decode step with its own position, of a prefill.
DECODE = (
    (1, 128), (1, 1024), (1, 2048), (2, 512), (4, 1024), (8, 512), (16, 512), (24, 1024), (32, 256),
    (64, 512), (96, 1024), (128, 256),
)  # fmt: skip
PREFILL = (
    (1, 128), (1, 256), (1, 512), (1, 1024), (1, 2048), (2, 1024), (4, 512), (8, 128), (8, 512), (16, 256),
    (32, 128),
)  # fmt: skip
# Every batch up to 16, then in steps of an eighth: what an advised batch is judged against.
SWEEP_MODELS = {"cuda": ("llama-3-8b", "qwen2.5-7b"), "cpu": ()}
SWEEP_BATCHES = (
    *range(1, 17),
    *range(18, 33, 2),
    *range(36, 65, 4),
    *range(72, 129, 8),
    *range(144, 257, 16),
)
SWEEP_POSITIONS = 1024
# Of the sizes: a host-bound row takes long and says little, and what is compiled differs in few kernels.
_EVERY = {"eager": 2, "compiled": 3}
_GRAPH_BUDGET_S = 0.06  # replays lie within a per cent of each other; a host may change its speed at any time
_LARGEST_FLOP = {"cuda": 1.2e14, "cpu": 3e11}
_ALLOWED_SHARE = 0.88  # of the memory, for weights and cache; activations and libraries need the rest


def plan(
    kind: str, models: tuple[str, ...], stacks: tuple[str, ...], *, seed: int = 0
) -> list[dict[str, Any]]:
    """The passes to measure, model by model, in random order within a stack of a model."""
    generator = random.Random(seed)
    wanted = []
    for number, model in enumerate(models):
        for stack in stacks:
            step = _EVERY.get(stack, 1)
            entries = []
            for phase, sizes in (("decode", DECODE), ("prefill", PREFILL)):
                chosen = sizes[number % step :: step] if kind == "cuda" else sizes[:4:3]
                for batch, positions in chosen:
                    entry = {"model": model, "stack": stack, "phase": phase, "batch": batch}
                    entries.append({**entry, "positions": positions})
            generator.shuffle(entries)
            wanted += [{"kind": "pass", **entry} for entry in entries if _small(kind, entry)]
    return wanted


def sweep(kind: str, *, seed: int = 0) -> list[dict[str, Any]]:
    """Decode steps at every batch, to see where throughput and latency go."""
    wanted = []
    for model in SWEEP_MODELS[kind]:
        entries = [
            {"kind": "pass", "model": model, "stack": "cuda-graph", "phase": "decode", "batch": batch}
            for batch in SWEEP_BATCHES
        ]
        random.Random(seed).shuffle(entries)
        wanted += [{**entry, "positions": SWEEP_POSITIONS} for entry in entries]
    return wanted


def _small(kind: str, entry: Mapping[str, Any]) -> bool:
    counted = analyze(
        entry["model"],
        device="H200" if kind == "cuda" else "A100",
        batch=entry["batch"],
        sequence=entry["positions"],
        phase=entry["phase"],
    )
    longest = counted.shape.max_sequence or entry["positions"]
    return counted.flop <= _LARGEST_FLOP[kind] and entry["positions"] <= longest


class Passes:
    """Measures entries of `plan`, keeping the weights of one model and stack at a time.

    Parameters
    ----------
    device
        "cuda" or "cpu".
    dtype
        As torch takes it.
    budget_s
        Seconds that the runs of one entry may take, where the host is in them.
    """

    def __init__(self, device: str, dtype: Any, *, budget_s: float = 0.3) -> None:
        self.device, self.dtype, self.budget_s = device, dtype, budget_s
        self.probes = {"host_s": host_s, "issue_s": issue_s(device)}
        self.held: tuple[str, str] | None = None
        self.model: Any = None

    def fits(self, entry: Mapping[str, Any]) -> bool:
        """Whether weights and cache leave room for the rest."""
        if self.device != "cuda":
            return True
        import torch

        counted = analyze(
            entry["model"], device="H200", batch=entry["batch"], sequence=entry["positions"], dtype="bf16"
        )
        return counted.memory_bytes < _ALLOWED_SHARE * torch.cuda.get_device_properties(0).total_memory

    def measure(self, entry: Mapping[str, Any]) -> Timing:
        """Seconds of one pass."""
        import torch

        with torch.inference_mode():
            self._hold(entry["model"], entry["stack"])
            if entry["stack"] == "eager":
                return self._eager(entry)
            return self._loop(entry)

    def release(self) -> None:
        """Free the model."""
        self.model, self.held = None, None
        gc.collect()
        if self.device == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _hold(self, name: str, stack: str) -> None:
        kind = "eager" if stack == "eager" else "loop"
        if self.held == (name, kind):
            return
        self.release()
        if kind == "eager":
            self.model = load_transformers(name, device=self.device, dtype=self.dtype)
        else:
            shape = model_shape(read_config(name))
            self.model = Decoder(shape, batch=1, positions=1, dtype=self.dtype, device=self.device)
        self.held = (name, kind)

    def _tokens(self, batch: int, new: int) -> Any:
        import torch

        words = model_shape(read_config(self.held[0] if self.held else "")).vocabulary
        return torch.randint(0, words, (batch, new), device=self.device)

    def _loop(self, entry: Mapping[str, Any]) -> Timing:
        batch, positions = entry["batch"], entry["positions"]
        self.model.resize(batch, positions)
        new = positions if entry["phase"] == "prefill" else 1
        tokens = self._tokens(batch, new)
        self.model.run = compiled if entry["stack"] == "compiled" else as_written

        def call() -> Any:
            return self.model.forward(tokens, positions - new)

        if self.device != "cuda":
            return wall(call, budget_s=self.budget_s, warm=1, probes=self.probes)
        graph = captured(call)
        timing = replayed(graph, budget_s=min(self.budget_s, _GRAPH_BUDGET_S))
        graph.reset()
        return timing

    def _eager(self, entry: Mapping[str, Any]) -> Timing:
        transformers: Any = require("transformers", extra="collect", distribution="latency-predictor")
        batch, positions = entry["batch"], entry["positions"]
        options: dict[str, Any] = {
            "synchronize": self._synchronize, "budget_s": self.budget_s, "probes": self.probes,
        }  # fmt: skip
        if entry["phase"] == "prefill":
            tokens = self._tokens(batch, positions)
            return wall(lambda: self.model(tokens, use_cache=True, logits_to_keep=1), **options)
        cache = transformers.DynamicCache(config=self.model.config)
        before, one = self._tokens(batch, positions - 1), self._tokens(batch, 1)
        self.model(before, past_key_values=cache, use_cache=True, logits_to_keep=1)

        def step() -> Any:
            return self.model(one, past_key_values=cache, use_cache=True, logits_to_keep=1)

        def shorten() -> None:
            # Else the cache outgrows the model's table of positions; a positive length is not taken by all
            # versions. What a generation joins the next key to is contiguous, a cropped view is not.
            if cache.get_seq_length() >= positions:
                cache.crop(-1)
                for layer in cache.layers:
                    layer.keys, layer.values = layer.keys.contiguous(), layer.values.contiguous()

        return wall(step, prepare=shorten, **options)

    def _synchronize(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()


def load_transformers(name: str, *, device: str, dtype: Any) -> Any:
    """The model as transformers has it, with random weights made on the device."""
    import torch

    transformers: Any = require("transformers", extra="collect", distribution="latency-predictor")
    config = transformers.AutoConfig.for_model(**read_config(name))
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=dtype)
    model = model.to_empty(device=device)
    if config.tie_word_embeddings:
        model.tie_weights()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.02)
    for module in model.modules():
        if hasattr(module, "inv_freq"):  # `to_empty` left it unset
            width = module.inv_freq.numel()
            module.inv_freq.copy_(10000.0 ** (-torch.arange(width, device=device) / width))
    return model.eval()
