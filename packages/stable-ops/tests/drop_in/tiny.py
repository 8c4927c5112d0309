"""Tiny models of transformers with random weights, made from their configurations alone."""

import torch
import transformers

SIZES = {
    "vocab_size": 97,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GROUPED = {**SIZES, "intermediate_size": 80, "num_key_value_heads": 2, "head_dim": 12}
GEMMA_2 = {**GROUPED, "query_pre_attn_scalar": 12, "sliding_window": 8}
CONFIGS = {
    "Llama": lambda: transformers.LlamaConfig(**GROUPED),
    "Mistral": lambda: transformers.MistralConfig(**GROUPED, sliding_window=8),
    "Qwen2": lambda: transformers.Qwen2Config(**GROUPED),
    "Qwen3": lambda: transformers.Qwen3Config(**GROUPED),
    "Olmo2": lambda: transformers.Olmo2Config(**GROUPED),
    "OPT": lambda: transformers.OPTConfig(**SIZES, ffn_dim=80, word_embed_proj_dim=48),
    "GPT2": lambda: transformers.GPT2Config(
        vocab_size=97, n_embd=48, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2
    ),
    "Gemma": lambda: transformers.GemmaConfig(**GROUPED),
    "Gemma2": lambda: transformers.Gemma2Config(**GEMMA_2),
    "Gemma3": lambda: transformers.Gemma3TextConfig(**GEMMA_2),
}


def build(family, *, dtype=torch.float32, attention="eager", device="cpu"):
    """A model in eval mode whose norm weights and logits are far from trivial."""
    torch.manual_seed(0)
    config = CONFIGS[family]()
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
            elif "proj" in name or "fc" in name:
                parameter *= 5
    return model.to(device=device, dtype=dtype).eval()


def tokens(rows=3, length=17, *, device="cpu"):
    drawn = torch.randint(3, 97, (rows, length), generator=torch.Generator().manual_seed(1))
    return drawn.to(device)
