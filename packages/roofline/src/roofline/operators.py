"""FLOP and compulsory bytes of single operators, in whole numbers.

A multiply and an add are two FLOP. Compulsory bytes: every operand is read once and every result written
once, as a kernel that fuses nothing but its own loop does at best. What an element of a vector operator costs
is a convention (`FLOP_PER_ELEMENT`); at these intensities it never decides the bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from roofline.dtypes import stored_bytes

# rms: square, sum, scale, weight. layer: mean, centre, square, sum, scale, weight, bias. softmax: maximum,
# subtract, exponential, sum, divide. rotary: two products and a sum. Activations: those of their formula.
FLOP_PER_ELEMENT = {
    "rms": 4,
    "layer": 7,
    "softmax": 5,
    "rotary": 3,
    "add": 1,
    "relu": 1,
    "silu": 4,
    "gelu": 8,
}
# Times the operand is moved where each step is a kernel of its own. rms: square 2, mean 1, scale 2, weight 2.
# layer: mean 1, centre 2, square 2, mean 1, scale 2, weight 2, bias 2. softmax: maximum 1, subtract 2,
# exponential 2, sum 1, divide 2. rotary: two products 4, the turned copy 2, sum 3. gated: activation 2,
# product 3. scores of attention: product 1, scale 2, mask 2, softmax (one kernel) 2, product 1.
STEP_PASSES = {"rms": 7, "layer": 12, "softmax": 8, "rotary": 9, "gated": 5, "scores": 8}


@dataclass(frozen=True)
class Operator:
    """One kind of operator in a pass, summed over its `count` launches.

    Attributes
    ----------
    name, kind
        What it is called in the model; "matmul", "attention", "vector" or "gather", which decides the peak.
    count
        How often the pass runs it, usually once a layer.
    flop, bytes
        FLOP and compulsory bytes of all `count` runs together.
    weights
        Parameters that all runs together read.
    sizes
        Of one run: (m, n, k) of a matmul; (batch, queries, keys, heads, kv_heads, head_dim) of attention;
        (elements,) otherwise.
    step_bytes
        Bytes of all runs where every elementary step (square, mean, product, ...) is a kernel of its own;
        None where the operator is one step.
    """

    name: str
    kind: str
    count: int
    flop: int
    bytes: int
    weights: int = 0
    sizes: tuple[int, ...] = ()
    step_bytes: int | None = None

    @property
    def intensity_flop_per_byte(self) -> float:
        """Arithmetic intensity, FLOP / byte."""
        return self.flop / self.bytes if self.bytes else 0.0

    @property
    def unfused_bytes(self) -> int:
        """Bytes that an unfused execution moves; at least the compulsory ones."""
        return self.bytes if self.step_bytes is None else max(self.bytes, self.step_bytes)

    def repeated(self, count: int) -> Operator:
        """The same operator run `count` times as often."""
        return replace(
            self,
            count=self.count * count,
            flop=self.flop * count,
            bytes=self.bytes * count,
            weights=self.weights * count,
            step_bytes=None if self.step_bytes is None else self.step_bytes * count,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "count": self.count,
            "flop": self.flop,
            "bytes": self.bytes,
            "unfused_bytes": self.unfused_bytes,
            "intensity": self.intensity_flop_per_byte,
            "sizes": list(self.sizes),
        }


def matmul(
    name: str, m: int, n: int, k: int, *, dtype: str, weight_dtype: str | None = None, bias: bool = False
) -> Operator:
    """`(m, k) @ (k, n)`, weights `(k, n)`: 2mnk FLOP (mn more with a bias); mk + kn (+ n) + mn elements."""
    weights = k * n + (n if bias else 0)
    moved = stored_bytes(m * k, dtype) + stored_bytes(m * n, dtype)
    moved += stored_bytes(weights, weight_dtype or dtype)
    return Operator(name, "matmul", 1, 2 * m * n * k + (m * n if bias else 0), moved, weights, (m, n, k))


def causal_pairs(queries: int, keys: int, window: int | None = None) -> int:
    """Query-key pairs that a causal mask leaves, the queries being the last of `keys` positions.

    The query at position p (from 1) sees min(p, window) keys; summed over p = keys - queries + 1 .. keys.
    """
    width = keys if window is None else min(window, keys)
    short_to = min(width, keys)  # positions up to here see fewer keys than the window holds
    first = keys - queries + 1
    ramp = max(0, short_to - first + 1)
    return (first + short_to) * ramp // 2 + (queries - ramp) * width


def attention(
    name: str,
    batch: int,
    queries: int,
    keys: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    *,
    dtype: str,
    kv_dtype: str | None = None,
    window: int | None = None,
    causal: bool = True,
) -> Operator:
    """Fused attention over a cache: the scores never reach memory.

    FLOP of the two matrix products, 4 * batch * heads * head_dim * pairs, the pairs of `causal_pairs` (all of
    them with `causal=False`, which is what an implementation that masks afterwards computes). Softmax adds
    5 / (4 head_dim) of that and is left out, as torch.utils.flop_counter does. Bytes: queries and result in
    `dtype`, keys and values once a kv head in `kv_dtype`, as far as a window reaches.
    """
    pairs = causal_pairs(queries, keys, window) if causal else queries * keys
    reach = keys if window is None else min(keys, window + queries - 1)
    moved = 2 * stored_bytes(batch * queries * heads * head_dim, dtype)
    moved += 2 * stored_bytes(batch * reach * kv_heads * head_dim, kv_dtype or dtype)
    flop = 4 * batch * heads * head_dim * pairs
    # Unfused code computes and masks the whole square.
    scores = STEP_PASSES["scores"] * stored_bytes(batch * heads * queries * reach, dtype)
    sizes = (batch, queries, reach, heads, kv_heads, head_dim)
    return Operator(name, "attention", 1, flop, moved, 0, sizes, moved + scores)


def vector(
    name: str,
    elements: int,
    *,
    flop_per_element: int,
    dtype: str,
    inputs: int = 1,
    weights: int = 0,
    output_dtype: str | None = None,
    steps: str | None = None,
) -> Operator:
    """An element-wise or row-wise operator: `inputs` reads and one write of `elements`, plus its weights.

    `steps` names the entry of `STEP_PASSES` that says what it moves step by step.
    """
    moved = inputs * stored_bytes(elements, dtype) + stored_bytes(elements, output_dtype or dtype)
    moved += stored_bytes(weights, dtype)
    apart = None
    if steps is not None:
        apart = stored_bytes(STEP_PASSES[steps] * elements, dtype) + stored_bytes(weights, dtype)
    return Operator(name, "vector", 1, flop_per_element * elements, moved, weights, (elements,), apart)


def norm(name: str, rows: int, width: int, *, form: str, dtype: str) -> Operator:
    """RMSNorm (`form="rms"`, a weight) or LayerNorm (`"layer"`, weight and bias) of `(rows, width)`."""
    weights = width * (2 if form == "layer" else 1)
    each = FLOP_PER_ELEMENT[form]
    return vector(name, rows * width, flop_per_element=each, dtype=dtype, weights=weights, steps=form)


def softmax(name: str, rows: int, width: int, *, dtype: str) -> Operator:
    """Softmax of `(rows, width)` as a kernel of its own: read once, written once."""
    each = FLOP_PER_ELEMENT["softmax"]
    return vector(name, rows * width, flop_per_element=each, dtype=dtype, steps="softmax")


def activation(name: str, elements: int, *, form: str, gated: bool, dtype: str) -> Operator:
    """`form(x)`, or `form(gate) * up` where gated (SwiGLU: silu), of `elements` results."""
    each = FLOP_PER_ELEMENT[form] + (1 if gated else 0)
    steps, inputs = ("gated", 2) if gated else (None, 1)
    return vector(name, elements, flop_per_element=each, dtype=dtype, inputs=inputs, steps=steps)


def gather(name: str, rows: int, width: int, *, dtype: str) -> Operator:
    """Rows of a table by 8-byte index: the index, the row and the result, once each; no arithmetic."""
    moved = 8 * rows + 2 * stored_bytes(rows * width, dtype)
    return Operator(name, "gather", 1, 0, moved, 0, (rows * width,))


def collective(name: str, elements: int, devices: int, *, dtype: str, reduce: bool) -> Operator:
    """Bytes that each of `devices` sends in a ring: (n-1)/n of the whole tensor to gather it, twice that to
    reduce it everywhere. They cross the links, not the memory.
    """
    moved = stored_bytes(elements, dtype) * (devices - 1) * (2 if reduce else 1)
    return Operator(name, "collective", 1, 0, -(-moved // devices), 0, (elements, devices))
