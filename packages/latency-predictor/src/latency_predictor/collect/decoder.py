"""A decoder-only transformer of any size with random weights, for timing: plain torch kernels, a fixed cache.

One loop for the families whose layers are norm, attention, norm, MLP with residuals in between: llama,
mistral, qwen2, qwen3 and opt. It computes what `transformers` computes (the tests hold the two together);
projections are apart, the cache is written in place, and nothing depends on values, so that a pass can be
captured in a CUDA graph. What is element by element can be compiled into fewer kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from mfi_command import BadInput
from roofline import ModelShape

if TYPE_CHECKING:
    import torch

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "opt")
# Weights are drawn with this deviation, as models are initialised: sums neither overflow nor underflow, and
# the bits that switch, on which a GPU's clock depends, are those of a real model.
_DEVIATION = 0.02


class Decoder:
    """Weights, cache and the two passes of a model of `shape`.

    Parameters
    ----------
    shape
        From `roofline.model_shape`.
    batch, positions
        Sequences, and positions of each that the cache holds.
    dtype, device
        Of weights and cache, as torch takes them.
    rope_theta
        Base of the rotary frequencies; it changes values, not time.

    Raises
    ------
    BadInput
        A family outside `FAMILIES`, or embeddings of another width than the layers.
    """

    def __init__(
        self,
        shape: ModelShape,
        *,
        batch: int,
        positions: int,
        dtype: torch.dtype,
        device: str,
        rope_theta: float = 10000.0,
        norm_eps: float = 1e-5,
    ) -> None:
        import torch

        if shape.model_type not in FAMILIES:
            raise BadInput(f"model_type is {shape.model_type!r}; the timing loop knows {', '.join(FAMILIES)}")
        if shape.embedding != shape.hidden or not shape.final_norm:
            raise BadInput(
                f"word_embed_proj_dim {shape.embedding} or do_layer_norm_before: the timing loop takes"
                " embeddings as wide as the layers, and norms in front"
            )
        self.shape, self.eps = shape, norm_eps
        self.theta = rope_theta
        self.run = as_written
        self.options: dict[str, Any] = {"dtype": dtype, "device": device}
        self.outer = {
            name: torch.empty(size, **self.options).normal_(0, _DEVIATION)
            for name, size in outer_sizes(shape).items()
        }
        if shape.tied:
            self.outer["head"] = self.outer["embedding"]
        self.layers = [
            {name: torch.empty(size, **self.options).normal_(0, _DEVIATION) for name, size in sizes.items()}
            for sizes in [layer_sizes(shape)] * shape.layers
        ]
        self.resize(batch, positions)

    def resize(self, batch: int, positions: int) -> None:
        """A new cache, filled with random keys and values, for other sizes."""
        import torch

        shape = self.shape
        self.cache = None  # the old one goes before the new one is made
        size = (shape.layers, 2, batch, shape.kv_heads, positions, shape.head_dim)
        self.cache = torch.empty(size, **self.options).normal_()
        turned = int(shape.head_dim * shape.rotary_fraction)
        steps = torch.arange(0, turned, 2, device=self.options["device"], dtype=torch.float32)
        angles = torch.outer(
            torch.arange(positions, device=self.options["device"], dtype=torch.float32),
            self.theta ** (-steps / turned),
        )
        angles = torch.cat((angles, angles), dim=-1)
        self.cos, self.sin = angles.cos().to(self.options["dtype"]), angles.sin().to(self.options["dtype"])

    def forward(self, tokens: torch.Tensor, start: int) -> torch.Tensor:
        """Logits of the last position, `(batch, vocabulary)`, of `tokens` `(batch, new)` at `start`.

        Keys and values of the new positions are written to the cache, and those before `start` are read
        from it.
        """
        import torch.nn.functional as functional

        new = tokens.shape[1]
        x = functional.embedding(tokens, self.outer["embedding"])
        if self.shape.position_rows:
            # OPT's table of positions begins two rows later.
            x = x + self.outer["positions"][start + 2 : start + 2 + new]
        inner = self._norm(x, self.layers[0], "norm1")
        for number, layer in enumerate(self.layers):
            x, inner = self._add_norm(x, self._attention(inner, layer, number, start), layer, "norm2")
            mixed = self._mlp(inner, layer)
            if number + 1 < len(self.layers):
                x, inner = self._add_norm(x, mixed, self.layers[number + 1], "norm1")
        last = self._norm((x + mixed)[:, -1], self.outer, "norm")
        return functional.linear(last, self.outer["head"])

    def _norm(self, x: torch.Tensor, weights: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
        return norm(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), self.eps)

    def _add_norm(
        self, x: torch.Tensor, y: torch.Tensor, weights: Mapping[str, torch.Tensor], name: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
        total, inner = self.run(add_norm)(x, y, weight, bias, self.eps)
        return total, inner

    def _attention(
        self, x: torch.Tensor, layer: Mapping[str, torch.Tensor], number: int, start: int
    ) -> torch.Tensor:
        import torch.nn.functional as functional

        shape, (batch, new, _) = self.shape, x.shape
        q, k, v = (
            functional.linear(x, layer[f"{name}.weight"], layer.get(f"{name}.bias"))
            .view(batch, new, heads, shape.head_dim)
            .transpose(1, 2)
            for name, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads))
        )
        if shape.family.qk_norm:
            q, k = self._norm(q, layer, "q_norm"), self._norm(k, layer, "k_norm")
        if shape.family.rotary:
            cos, sin = self.cos[start : start + new], self.sin[start : start + new]
            q, k = self.run(turned)(q, cos, sin), self.run(turned)(k, cos, sin)
        assert self.cache is not None
        keys, values = self.cache[number]
        keys[:, :, start : start + new] = k
        values[:, :, start : start + new] = v
        if start:
            k, v = keys[:, :, : start + new], values[:, :, : start + new]
        grouped = shape.kv_heads != shape.heads
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=new > 1, enable_gqa=grouped)
        mixed = mixed.transpose(1, 2).reshape(batch, new, shape.query_width)
        return functional.linear(mixed, layer["o.weight"], layer.get("o.bias"))

    def _mlp(self, x: torch.Tensor, layer: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch.nn.functional as functional

        up = functional.linear(x, layer["up.weight"], layer.get("up.bias"))
        if self.shape.family.gated:
            gate = functional.linear(x, layer["gate.weight"], layer.get("gate.bias"))
            inner = self.run(gated)(gate, up)
        else:
            inner = functional.relu(up)
        return functional.linear(inner, layer["down.weight"], layer.get("down.bias"))


def norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, eps: float) -> torch.Tensor:
    """LayerNorm where there is a bias, else RMSNorm."""
    import torch.nn.functional as functional

    if bias is not None:
        return functional.layer_norm(x, x.shape[-1:], weight, bias, eps)
    return functional.rms_norm(x, x.shape[-1:], weight, eps)


def add_norm(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The residual stream with `y` added, and its norm."""
    total = x + y
    return total, norm(total, weight, bias, eps)


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions on `(batch, heads, new, width)`."""
    import torch

    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((-second, first), dim=-1), sin)


def gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """SwiGLU's product."""
    import torch.nn.functional as functional

    return functional.silu(gate) * up


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """One kernel for `function`, for all sizes."""
    import torch

    settings = torch._dynamo.config
    if hasattr(settings, "recompile_limit"):
        # Batch 1, one token, and with or without a bias are kernels of their own: more than the usual limit.
        settings.recompile_limit = 64
    return torch.compile(function, dynamic=True)


def as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` itself."""
    return function


def outer_sizes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Sizes of the tensors outside the layers; a tied head is not among them."""
    sizes: dict[str, tuple[int, ...]] = {
        "embedding": (shape.vocabulary, shape.hidden),
        "norm.weight": (shape.hidden,),
    }
    if shape.family.norm == "layer":
        sizes["norm.bias"] = (shape.hidden,)
    if shape.position_rows:
        sizes["positions"] = (shape.position_rows, shape.hidden)
    if not shape.tied:
        sizes["head"] = (shape.vocabulary, shape.hidden)
    return sizes


def layer_sizes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Sizes of the tensors of one layer; weights are (out, in)."""
    matrices = {
        "q": (shape.query_width, shape.hidden, shape.qkv_bias),
        "k": (shape.kv_width, shape.hidden, shape.qkv_bias),
        "v": (shape.kv_width, shape.hidden, shape.qkv_bias),
        "o": (shape.hidden, shape.query_width, shape.o_bias),
        "up": (shape.intermediate, shape.hidden, shape.mlp_bias),
        "down": (shape.hidden, shape.intermediate, shape.mlp_bias),
    }
    if shape.family.gated:
        matrices["gate"] = matrices["up"]
    sizes: dict[str, tuple[int, ...]] = {}
    for name, (out, inner, bias) in matrices.items():
        sizes[f"{name}.weight"] = (out, inner)
        if bias:
            sizes[f"{name}.bias"] = (out,)
    for name in ("norm1", "norm2"):
        sizes[f"{name}.weight"] = (shape.hidden,)
        if shape.family.norm == "layer":
            sizes[f"{name}.bias"] = (shape.hidden,)
    if shape.family.qk_norm:
        sizes |= {"q_norm.weight": (shape.head_dim,), "k_norm.weight": (shape.head_dim,)}
    return sizes
