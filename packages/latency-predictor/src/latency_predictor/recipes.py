"""Which kernels a stack runs for an operator of the model.

An operator becomes one kernel or several; each is a fitted kernel (`DeviceFit.vectors`) with a multiple of
the operator's compulsory bytes, a number of launches, and the calls that a host makes for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from roofline import ModelShape


@dataclass(frozen=True)
class Kernel:
    """A fitted kernel, the multiple of the compulsory bytes it moves, how often it is launched, and how many
    operators a host dispatches for one launch: what was fitted may be a chain of several kernels, and a view
    costs a host time too. `launch`: the kernel whose launch it takes, if not its own.
    """

    fitted: str
    traffic: float = 1.0
    launches: int = 1
    calls: int = 1
    launch: str = ""


Recipe = tuple[Kernel, ...]

# One kernel an operator, as serving engines fuse them.
FUSED: Mapping[str, Recipe] = {
    "rms": (Kernel("vllm.norm"),),
    "head_rms": (Kernel("vllm.norm"),),
    "layer": (Kernel("vllm.norm"),),
    "rotary": (Kernel("vllm.rotary"),),
    "kv_write": (Kernel("vllm.add"),),
    "gated": (Kernel("vllm.activation"),),
    "plain": (Kernel("vllm.activation"),),
    "add": (Kernel("vllm.add"),),
    "embedding": (Kernel("vllm.embedding"),),
    "positions": (),
}
# Plain torch: norms are fused; rotation is a product, a negation, a joining and a product with a sum, for
# queries and for keys; a gated activation writes its intermediate (4 + 6 bytes an element where 6 are
# needed).
LOOP: Mapping[str, Recipe] = {
    "rms": (Kernel("torch.rms"),),
    "head_rms": (Kernel("torch.rms"),),
    "layer": (Kernel("torch.layer"),),
    "rotary": (Kernel("torch.rotary", 1.0, 2),),
    "kv_write": (Kernel("torch.kv_write", 1.0, 2),),
    "gated": (Kernel("torch.silu", 4 / 6), Kernel("torch.multiply")),
    "plain": (Kernel("torch.relu"),),
    "add": (Kernel("torch.add"),),
    "embedding": (Kernel("torch.embedding"),),
    "positions": (),
}
# Inductor joins what is element by element: rotation, writing the cache, the activation, a norm with the sum
# before it. For any size, as here, that saves launches and hardly bytes.
COMPILED: Mapping[str, Recipe] = {
    **LOOP,
    "rotary": (Kernel("torch.rotary", 1.0, 2, launch="torch.add"),),
    "kv_write": (Kernel("torch.kv_write", 1.0, 1),),
    "gated": (Kernel("torch.multiply"),),
    "add": (Kernel("torch.add", 1.0, 0),),  # done in the kernel of the norm that follows
}
# transformers as written: RMSNorm upcasts, squares, averages, adds, takes a root, scales, downcasts and
# weighs; rotation negates, joins, multiplies twice and adds, after two slices and a view, of queries and of
# keys; `collect` times both chains. OPT, whose activation is plain, scales its queries, drops nothing twice
# and flattens its tokens and back: five calls more.
EAGER: Mapping[str, Recipe] = {
    **LOOP,
    "rms": (Kernel("torch.rms_written", calls=8),),
    "head_rms": (Kernel("torch.rms_written", calls=8),),
    "rotary": (Kernel("torch.rotary_written", 1.0, 2, calls=8),),
    "plain": (Kernel("torch.relu", calls=6),),
}
# Of attention: itself, and views that part heads from each other and join them again.
ATTENTION_CALLS = {"eager": 10}
RECIPES = {"fused": FUSED, "loop": LOOP, "compiled": COMPILED, "eager": EAGER}


def form_of(operator: str, shape: ModelShape) -> str:
    """Which entry of a recipe an operator of `roofline` is."""
    if operator in ("q_norm", "k_norm"):
        return "head_rms"
    if operator in ("norm", "final_norm"):
        return shape.family.norm
    if operator == "activation":
        return "gated" if shape.family.gated else "plain"
    return {
        "residual_add": "add",
        "position_add": "add",
        "position_embedding": "positions",
    }.get(operator, operator)
