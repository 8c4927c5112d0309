"""The shape of a decoder-only transformer, read from the keys of its Hugging Face config.

One `Family` a `model_type` says what the config does not: which norms, biases and projections its code has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mfi_command import BadInput
from roofline.arguments import positive
from roofline.configs import read_config


@dataclass(frozen=True)
class Family:
    """What the code of a `model_type` does that its config.json leaves unsaid."""

    gated: bool = True
    norm: str = "rms"
    norms_per_layer: int = 2
    qk_norm: bool = False
    rotary: bool = True
    positions: int = 0  # rows added to max_position_embeddings in a learned table
    fused_qkv: bool = False
    fused_gate_up: bool = False
    qkv_bias: bool | str = False  # a string names the key of the config that decides
    o_bias: bool | str = False
    mlp_bias: bool | str = False
    head_bias: bool = False
    tied: bool = False  # where the config does not say
    activation: str = "silu"
    experts: str = ""  # the key that holds their number, in a mixture of experts
    expert_width: str = "intermediate_size"  # the key that holds the width of one
    shared_gate: bool = False  # the shared expert is scaled by a product with one column


_GPT = {"gated": False, "norm": "layer", "qkv_bias": True, "o_bias": True, "mlp_bias": True}

FAMILIES: dict[str, Family] = {
    "llama": Family(qkv_bias="attention_bias", o_bias="attention_bias", mlp_bias="mlp_bias"),
    "mistral": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen3": Family(qkv_bias="attention_bias", o_bias="attention_bias", qk_norm=True),
    "gemma": Family(qkv_bias="attention_bias", o_bias="attention_bias", tied=True, activation="gelu"),
    "gemma2": Family(
        qkv_bias="attention_bias", o_bias="attention_bias", tied=True, activation="gelu", norms_per_layer=4
    ),
    "mixtral": Family(experts="num_local_experts"),
    "qwen2_moe": Family(
        qkv_bias=True, experts="num_experts", expert_width="moe_intermediate_size", shared_gate=True
    ),
    "qwen3_moe": Family(
        qkv_bias="attention_bias",
        o_bias="attention_bias",
        qk_norm=True,
        experts="num_experts",
        expert_width="moe_intermediate_size",
    ),
    "phi3": Family(fused_qkv=True, fused_gate_up=True),
    "phi": Family(**_GPT, norms_per_layer=1, head_bias=True, activation="gelu"),  # type: ignore[arg-type]
    "starcoder2": Family(
        gated=False,
        norm="layer",
        qkv_bias="use_bias",
        o_bias="use_bias",
        mlp_bias="use_bias",
        tied=True,
        activation="gelu",
    ),
    "opt": Family(**_GPT, rotary=False, positions=2, tied=True, activation="relu"),  # type: ignore[arg-type]
    "gpt2": Family(**_GPT, rotary=False, fused_qkv=True, tied=True, activation="gelu"),  # type: ignore[arg-type]
    "gpt_neox": Family(**_GPT, fused_qkv=True, activation="gelu"),  # type: ignore[arg-type]
}
LEARNED_POSITIONS = ("opt", "gpt2")


@dataclass(frozen=True)
class Experts:
    """A mixture of experts: `active` of `count` gated MLPs of width `intermediate` for each token, in
    `layers` layers, and one of width `shared` (0: none) for every token.
    """

    count: int
    active: int
    intermediate: int
    layers: int
    shared: int = 0

    def touched(self, tokens: int) -> float:
        r"""Distinct experts that `tokens` tokens are expected to use, :math:`E(1-(1-k/E)^T)`.

        Exact where each token takes k of E experts uniformly and tokens choose apart from each other; trained
        routers lean towards some experts and touch fewer.
        """
        return self.count * (1 - (1 - self.active / self.count) ** tokens)


@dataclass(frozen=True)
class ModelShape:
    """Sizes that decide how much a forward pass computes and moves; all counts, no units.

    `windows` maps an attention window (None: everything before) to the number of layers that have it.
    `position_rows` is 0 where positions are rotary.
    """

    model_type: str
    family: Family
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    embedding: int
    tied: bool
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    windows: Mapping[int | None, int]
    position_rows: int
    final_norm: bool
    rotary_fraction: float
    max_sequence: int | None
    experts: Experts | None = None

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together; the values have the same."""
        return self.kv_heads * self.head_dim


_OTHER_KEYS = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer",),
    "num_attention_heads": ("n_head",),
    "intermediate_size": ("ffn_dim", "n_inner"),
    "max_position_embeddings": ("n_positions",),
}
_DEFAULTS = {
    "opt": {"vocab_size": 50272, "max_position_embeddings": 2048},
    "gpt2": {"vocab_size": 50257, "max_position_embeddings": 1024},
}
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


def _get(config: Mapping[str, Any], key: str) -> Any:
    for name in (key, *_OTHER_KEYS.get(key, ())):
        if config.get(name) is not None:
            return config[name]
    return None


def _filled(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The config with what its family's files leave out; a key under another spelling counts as given."""
    missing = {key: value for key, value in _DEFAULTS.get(kind, {}).items() if _get(config, key) is None}
    return {**config, **missing}


def _required(config: Mapping[str, Any], key: str, *, largest: int = 10**9) -> int:
    value = _get(config, key)
    if value is None:
        spellings = " or ".join((key, *_OTHER_KEYS.get(key, ())))
        raise BadInput(f"the config has no {spellings}; expected the keys of a Hugging Face config.json")
    return positive(f"{key} in the config", value, largest=largest)


def _model_type(config: Mapping[str, Any]) -> str:
    kind = config.get("model_type")
    if kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise BadInput(
            f"model_type in the config is {kind!r}; known, since it decides the operators: {known}"
        )
    for key in _EXPERTS:
        if config.get(key) not in (None, 0, 1) and not FAMILIES[kind].experts:
            raise BadInput(f"{key} in the config is {config[key]!r}: model_type {kind!r} has no experts")
    return str(kind)


def model_shape(config: Mapping[str, Any]) -> ModelShape:
    """Read the shape from the keys of a config.json.

    Raises
    ------
    BadInput
        A missing or unusable key, named; an unknown `model_type`; a mixture of experts.
    """
    if isinstance(config.get("text_config"), Mapping):  # the language part of a multimodal model
        config = config["text_config"]
    hidden = _required(config, "hidden_size")
    kind = _model_type(config)
    family = FAMILIES[kind]
    config = _filled(config, kind)
    heads = _required(config, "num_attention_heads")
    head_dim = config.get("head_dim")
    if head_dim is None and hidden % heads:
        raise BadInput(f"no head_dim, and hidden_size {hidden} is no multiple of num_attention_heads {heads}")
    kv_heads = config.get("num_key_value_heads")
    kv_heads = heads if kv_heads is None else positive("num_key_value_heads in the config", kv_heads)
    if heads % kv_heads:
        raise BadInput(f"num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}")
    layers = _required(config, "num_hidden_layers")
    longest = _get(config, "max_position_embeddings")
    longest = None if longest is None else positive("max_position_embeddings in the config", longest)
    before = config.get("do_layer_norm_before", True)
    return ModelShape(
        model_type=kind,
        family=family,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads if head_dim is None else positive("head_dim in the config", head_dim),
        intermediate=4 * hidden
        if kind == "gpt2" and not _get(config, "intermediate_size")
        else _required(config, "intermediate_size"),
        vocabulary=_required(config, "vocab_size"),
        embedding=positive("word_embed_proj_dim", config.get("word_embed_proj_dim") or hidden),
        tied=bool(config.get("tie_word_embeddings", family.tied)),
        qkv_bias=_flag(config, family.qkv_bias),
        o_bias=_flag(config, family.o_bias),
        mlp_bias=_flag(config, family.mlp_bias),
        windows=_windows(config, kind, layers),
        position_rows=(longest or 0) + family.positions if kind in LEARNED_POSITIONS else 0,
        final_norm=bool(before),
        rotary_fraction=_rotary_fraction(config, kind),
        max_sequence=longest,
        experts=_experts(config, family, layers),
    )


def has_formulas(model: str) -> bool:
    """Whether `model` is one that `analyze` counts; True also where its config cannot be read, so that
    `analyze` says why.
    """
    try:
        config = read_config(model)
    except BadInput:
        return True
    inner = config.get("text_config")
    kind = (inner if isinstance(inner, Mapping) else config).get("model_type")
    return kind is None or kind in FAMILIES


def _experts(config: Mapping[str, Any], family: Family, layers: int) -> Experts | None:
    if not family.experts:
        return None
    count = _required(config, family.experts)
    active = _required(config, "num_experts_per_tok")
    if active > count:
        raise BadInput(f"num_experts_per_tok {active} in the config is more than {family.experts} {count}")
    step = positive("decoder_sparse_step in the config", config.get("decoder_sparse_step") or 1)
    dense = set(config.get("mlp_only_layers") or ())
    sparse = [layer for layer in range(layers) if layer not in dense and (layer + 1) % step == 0]
    shared = config.get("shared_expert_intermediate_size") if family.shared_gate else 0
    if not sparse:
        return None
    return Experts(
        count=count,
        active=active,
        intermediate=_required(config, family.expert_width),
        layers=len(sparse),
        shared=positive("shared_expert_intermediate_size in the config", shared) if shared else 0,
    )


def _rotary_fraction(config: Mapping[str, Any], kind: str) -> float:
    default = {"phi": 0.5, "gpt_neox": 0.25}.get(kind, 1.0)
    value = config.get("partial_rotary_factor", config.get("rotary_pct")) or default
    if not isinstance(value, int | float) or not 0 < value <= 1:
        raise BadInput(f"partial_rotary_factor in the config is {value!r}, expected between 0 and 1")
    return float(value)


def _flag(config: Mapping[str, Any], rule: bool | str) -> bool:
    return rule if isinstance(rule, bool) else bool(config.get(rule, rule == "use_bias"))


def _windows(config: Mapping[str, Any], kind: str, layers: int) -> dict[int | None, int]:
    """How many layers see the whole past (None) and how many a window of it."""
    window = config.get("sliding_window")
    # Qwen's configs carry a window that use_sliding_window, off by default, has to switch on.
    if window is None or not config.get("use_sliding_window", kind not in ("qwen2", "qwen3")):
        return {None: layers}
    window = positive("sliding_window in the config", window)
    kinds = config.get("layer_types")
    if isinstance(kinds, list | tuple):
        if len(kinds) != layers:
            raise BadInput(f"layer_types in the config names {len(kinds)} layers, num_hidden_layers {layers}")
        windowed = sum(entry == "sliding_attention" for entry in kinds)
    else:
        windowed = layers - layers // 2 if kind == "gemma2" else layers
    return {key: count for key, count in ((window, windowed), (None, layers - windowed)) if count}
