"""GGUF's names of tensors and metadata in Hugging Face's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from checkpoint_lens.stored.gguf_header import GGUFHeader
from mfi_command import BadInput

_OUTSIDE = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# The table of rotary factors becomes a part of the configuration.
ROPE_FACTORS = "rope_freqs.weight"


def hugging_face_name(name: str) -> str:
    """The name in a Hugging Face checkpoint; a name that Llama shapes do not have stays as it is."""
    stem, _, kind = name.rpartition(".")
    if stem in _OUTSIDE:
        return f"{_OUTSIDE[stem]}.{kind}"
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    if block and block[2] in _IN_BLOCK:
        return f"model.layers.{block[1]}.{_IN_BLOCK[block[2]]}.{kind}"
    return name


def config_of(header: GGUFHeader, factors: list[float] | None) -> dict[str, Any]:
    """The keys of a config.json that the metadata determines.

    Parameters
    ----------
    header
        The file's header.
    factors
        What each rotary frequency is divided by, where the file has such a table.

    Raises
    ------
    BadInput
        If the metadata has no architecture.
    """
    metadata = header.metadata
    kind = metadata.get("general.architecture")
    if not isinstance(kind, str):
        raise BadInput("the GGUF metadata has no general.architecture; convert the model again")
    found = {ours: metadata.get(theirs.format(kind)) for ours, theirs in _CONFIG.items()}
    embedding = header.tensors.get("token_embd.weight")
    if embedding is not None:
        found["vocab_size"] = embedding.shape[0]
    config = {key: value for key, value in found.items() if value is not None}
    config |= {"model_type": kind, "tie_word_embeddings": "output.weight" not in header.tensors}
    if scaling := _rope_scaling(metadata, kind, factors):
        config["rope_scaling"] = scaling
    return config


_CONFIG = {
    "hidden_size": "{}.embedding_length",
    "intermediate_size": "{}.feed_forward_length",
    "num_hidden_layers": "{}.block_count",
    "num_attention_heads": "{}.attention.head_count",
    "num_key_value_heads": "{}.attention.head_count_kv",
    "head_dim": "{}.attention.key_length",
    "max_position_embeddings": "{}.context_length",
    "rms_norm_eps": "{}.attention.layer_norm_rms_epsilon",
    "rope_theta": "{}.rope.freq_base",
    "num_local_experts": "{}.expert_count",
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
}


def _rope_scaling(metadata: dict[str, Any], kind: str, factors: list[float] | None) -> dict[str, Any] | None:
    if factors is not None:
        return {"rope_type": "factors", "factors": factors}
    scaling = metadata.get(f"{kind}.rope.scaling.type", "none")
    if scaling == "none":
        return None
    return {"rope_type": scaling, "factor": metadata.get(f"{kind}.rope.scaling.factor")}


def gguf_names(names: Iterable[str]) -> dict[str, str]:
    """GGUF's tensor names (with `.weight`) for module paths of Hugging Face, of any architecture it knows.

    Raises
    ------
    BadInput
        For a path that llama.cpp's converter would not know.
    """
    from gguf import MODEL_ARCH, get_tensor_name_map

    wanted = list(names)
    numbers = [int(each) for name in wanted for each in re.findall(r"\.(\d+)(?=\.)", name)]
    # Every architecture's table holds the names of all: one serves, where it lists the kind of tensor.
    tables = [get_tensor_name_map(arch, max(numbers, default=0) + 1) for arch in _tables(MODEL_ARCH)]
    found = {}
    for name in wanted:
        plain = re.sub(r"\.experts\.\d+\.", ".experts.", name)
        # Some tables leave out the name of the model in front: bert.encoder.layer...
        paths = (plain, plain.partition(".")[2])
        hits = (
            table.get_name(f"{path}.weight", try_suffixes=(".weight",)) for path in paths for table in tables
        )
        hit = next((each for each in hits if each), None)
        if hit is None:
            raise BadInput(f"GGUF has no name for {name}: llama.cpp does not know this architecture's layer")
        found[name] = hit
    return found


def _tables(known: Any) -> tuple[Any, ...]:
    return (
        known.LLAMA,
        known.GPT2,
        known.BERT,
        known.PHI2,
        known.PHI3,
        known.FALCON,
        known.GPTNEOX,
        known.MPT,
    )
