"""The calls of a host in an eager layer are those that transformers makes."""

from collections import Counter
from typing import Any

import pytest

from latency_predictor.device_fit import hardware_of
from latency_predictor.engine import chosen_for
from latency_predictor.pass_time import sizes, timed_operators
from latency_predictor.stacks import find_stack
from latency_predictor.work import model_work
from roofline import device

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
BASE: dict[str, Any] = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 64,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "llama": {"intermediate_size": 96, "num_key_value_heads": 2},
    "qwen2": {"intermediate_size": 96, "num_key_value_heads": 2},
    "qwen3": {"intermediate_size": 96, "num_key_value_heads": 2, "head_dim": 16},
}


def dispatched(config: dict[str, Any]) -> int:
    """Operators, views among them, that a decode step dispatches."""
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: Counter[str] = Counter()

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen[str(function)] += 1
            return function(*args, **(kwargs or {}))

    made = transformers.AutoConfig.for_model(**config)
    made.bos_token_id = made.eos_token_id = made.pad_token_id = None
    model = transformers.AutoModelForCausalLM.from_config(made, attn_implementation="sdpa").eval()
    with torch.inference_mode():
        cache = transformers.DynamicCache(config=made)
        model(torch.ones(2, 5, dtype=torch.long), past_key_values=cache, use_cache=True)
        with Count():
            model(torch.ones(2, 1, dtype=torch.long), past_key_values=cache, use_cache=True, logits_to_keep=1)
    return sum(seen.values())


def counted(config: dict[str, Any]) -> int:
    h200 = device("H200")
    found = timed_operators(
        model_work(config), sizes(2, 1, 6), rules=find_stack("eager").rules, fit=chosen_for(h200.name).fit,
        on=hardware_of(h200, "bf16"), phase="decode",
    )  # fmt: skip
    return sum(one.calls for one in found)


@pytest.mark.parametrize("kind", CONFIGS)
def test_calls_of_a_layer(kind: str) -> None:
    shapes = [{"model_type": kind, **BASE, **CONFIGS[kind], "num_hidden_layers": layers} for layers in (2, 4)]
    layer = [
        (many - few) / 2 for few, many in ([f(shape) for shape in shapes] for f in (dispatched, counted))
    ]
    # A version of transformers more or less: within a tenth.
    assert layer[1] == pytest.approx(layer[0], rel=0.1)
