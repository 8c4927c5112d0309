"""What a linear layer does in its block and where it stands, by its name, across the usual architectures."""

from __future__ import annotations

from collections.abc import Sequence

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


def block_of(name: str) -> int | None:
    """Number of the block: the first part that is a number, as a list of modules has it, but no expert's."""
    parts = name.split(".")
    for before, part in zip(["", *parts], parts, strict=False):
        if part.isdecimal() and before != "experts":
            return int(part)
    return None


def places(names: Sequence[str]) -> list[float]:
    """Where each layer stands: 0 in the first block to 1 in the last, for all names in the model's order.

    A layer before the blocks is at 0, one behind them at 1; without blocks, or with one, all are at 0.5.
    """
    blocks = [block_of(name) for name in names]
    known = sorted({block for block in blocks if block is not None})
    if len(known) < 2:
        return [0.5] * len(names)
    rank = {block: at / (len(known) - 1) for at, block in enumerate(known)}
    first = next(at for at, block in enumerate(blocks) if block is not None)
    return [rank[block] if block is not None else float(at > first) for at, block in enumerate(blocks)]
