"""Small language models of many families, shapes and seeds, trained here on `zoo_text.py`'s tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

VOCAB = 8064  # of the reference model's tokenizer
LENGTH = 128
WARM_UP = 100


@dataclass(frozen=True)
class Recipe:
    """One model of the zoo: everything that its weights depend on."""

    family: str
    width: int
    blocks: int
    seed: int
    steps: int = 1200
    batch: int = 32

    @property
    def name(self) -> str:
        return f"{self.family}-{self.width}x{self.blocks}-s{self.seed}"


def zoo(steps: int = 1200, batch: int = 32) -> list[Recipe]:
    """Two models of each family, of different shape and seed, and two that learn nothing, for control."""
    shapes = [(192, 8), (128, 10), (256, 6), (160, 12), (128, 14), (224, 8)]
    controls = [Recipe("llama", 192, 8, seed=900, steps=0), Recipe("gpt2", 128, 10, seed=901, steps=0)]
    return controls + [
        Recipe(
            family, *shapes[(2 * at + turn * 3) % len(shapes)], seed=10 * at + turn, steps=steps, batch=batch
        )
        for turn in range(2)
        for at, family in enumerate(FAMILIES)
    ]


def _llama(r: Recipe, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "hidden_size": r.width,
        "num_hidden_layers": r.blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "intermediate_size": 3 * r.width,
        **more,
    }


def _plain(r: Recipe, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "hidden_size": r.width,
        "num_hidden_layers": r.blocks,
        "num_attention_heads": heads,
        "intermediate_size": 4 * r.width,
        **more,
    }


def _gpt2(r: Recipe, heads: int) -> dict[str, Any]:
    return {"n_embd": r.width, "n_layer": r.blocks, "n_head": heads, "n_positions": 512}


def _bloom(r: Recipe, heads: int) -> dict[str, Any]:
    return {"hidden_size": r.width, "n_layer": r.blocks, "n_head": heads}


def _opt(r: Recipe, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": r.width,
        "word_embed_proj_dim": r.width,
        "num_hidden_layers": r.blocks,
        "num_attention_heads": heads,
        "ffn_dim": 4 * r.width,
    }


FAMILIES: dict[str, Any] = {
    "llama": lambda r, h: _llama(r, h, tie_word_embeddings=True),
    "gpt2": _gpt2,
    "opt": _opt,
    "gpt_neox": lambda r, h: _plain(r, h, tie_word_embeddings=False),
    "phi": lambda r, h: _plain(r, h),
    "phi3": lambda r, h: _llama(r, h, tie_word_embeddings=True),
    "qwen2": lambda r, h: _llama(r, h, tie_word_embeddings=True),
    "qwen3": lambda r, h: _llama(r, h, tie_word_embeddings=True, head_dim=32),
    "gemma": lambda r, h: _llama(r, h, head_dim=32),
    "mistral": lambda r, h: _llama(r, h, sliding_window=None),
    "olmo2": lambda r, h: _llama(r, h, tie_word_embeddings=True),
    "starcoder2": lambda r, h: _llama(r, h, tie_word_embeddings=True),
    "bert": lambda r, h: _plain(r, h, is_decoder=True),
    "bloom": _bloom,
}
# Not one of the study's zoo, whose seeds count its families: `zoo_folder.py` trains one by name.
EXPERTS: dict[str, Any] = {
    "mixtral": lambda r, h: {**_llama(r, h), "num_local_experts": 4, "num_experts_per_tok": 2},
}


def built(recipe: Recipe) -> Any:
    """The model with its random first weights, in float32."""
    import transformers

    heads = recipe.width // 32
    heads += heads % 2
    while recipe.width % heads:
        heads += 2
    options = (FAMILIES | EXPERTS)[recipe.family](recipe, heads)
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    config = transformers.AutoConfig.for_model(
        recipe.family, vocab_size=VOCAB, max_position_embeddings=512, use_cache=False, **ends, **options
    )
    for key in config.to_dict():
        if key.endswith(("dropout", "_pdrop")) and isinstance(getattr(config, key), float):
            setattr(config, key, 0.0)
    torch.manual_seed(recipe.seed)
    return transformers.AutoModelForCausalLM.from_config(config)


def trained(recipe: Recipe, tokens: np.ndarray[Any, Any], device: str) -> tuple[Any, float]:
    """The model after `recipe.steps` steps of AdamW, and its mean training loss over the last tenth."""
    torch.backends.cuda.matmul.allow_tf32 = True
    model = built(recipe).to(device).train()
    stream = torch.from_numpy(tokens.astype(np.int64)).to(device)
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=device != "cpu"
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe.steps))
    offsets = torch.arange(LENGTH + 1, device=device)
    last = []
    for step in range(recipe.steps):
        starts = torch.randint(0, len(stream) - LENGTH - 1, (recipe.batch, 1), generator=generator)
        batch = stream[starts.to(device) + offsets]
        logits = model(input_ids=batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step >= 0.9 * (recipe.steps - 1):
            last.append(loss.detach())
    torch.backends.cuda.matmul.allow_tf32 = False
    return model.eval().requires_grad_(False), float(torch.stack(last).mean()) if last else float("nan")


def _rate(step: int, steps: int) -> float:
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * (step - WARM_UP) / max(1, steps - WARM_UP))))


def wrapped(model: Any) -> Any:
    """The model behind checkpoint-lens' interface, with the reference model's tokenizer."""
    from checkpoint_lens.bundled import reference_path
    from checkpoint_lens.foreign import ForeignLM
    from checkpoint_lens.tokens import open_tokenizer

    return ForeignLM(
        model, config=model.config.to_dict(), tokenizer=lambda: open_tokenizer(reference_path())
    ).eval()
