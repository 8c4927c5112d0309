"""What a linear layer does in its block, by the last part of its name, across the usual architectures."""

from __future__ import annotations

from checkpoint_lens.layers import ROLES as LLAMA

ROLES = {
    **LLAMA,
    # OPT, GPT-Neo and their relatives
    "out_proj": "o",
    "fc1": "up",
    "fc2": "down",
    "fc_in": "up",
    "fc_out": "down",
    "c_fc": "up",
    # GPT-NeoX, Falcon, Bloom, Phi
    "dense_h_to_4h": "up",
    "dense_4h_to_h": "down",
    # Mixtral
    "w1": "gate",
    "w2": "down",
    "w3": "up",
    # BERT
    "query": "q",
    "key": "k",
    "value": "v",
    "embed_out": "lm_head",
    "score": "lm_head",
}
ATTENTION = ("attn", "attention")
PARTS = {"q", "k", "v", "gate", "up"}  # of fused layers, named after the layer they are cut from


def role_of(name: str) -> str:
    """One of q k v o gate up down lm_head; the name's last part where it is none of the usual ones."""
    parts = name.split(".")
    last, inside = parts[-1], parts[-2].lower() if len(parts) > 1 else ""
    if last in PARTS:
        return last
    if last in ("c_proj", "dense"):  # the same word closes attention and feed-forward layers
        around = ".".join(parts[-3:-1]).lower()
        if any(word in around for word in ATTENTION):
            return "o"
        return (
            "down" if last == "c_proj" or inside == "output" else "up" if inside == "intermediate" else last
        )
    return ROLES.get(last, last)
