"""Our forward pass against transformers' on random models."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoint_lens import load_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
CASES = [
    {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": False},
    {"num_attention_heads": 4, "num_key_value_heads": 1, "tie_word_embeddings": True},
    {"num_attention_heads": 6, "num_key_value_heads": 3, "hidden_size": 48, "tie_word_embeddings": False},
    {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32, "head_dim": 16},
    {"attention_bias": True, "tie_word_embeddings": False},
    {"rope_theta": 500000.0, "rope_scaling": LLAMA3},
    {"rope_theta": None, "rope_parameters": {"rope_theta": 77.0, **LLAMA3}},
    {"rope_scaling": {"type": "linear", "factor": 4.0}},
    {"rms_norm_eps": 0.1, "num_hidden_layers": 3},
]


def logits_apart(folder, ids):
    """Largest difference of logits, and the largest logit to judge it by."""
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ours = load_model(folder)
    with torch.inference_mode():
        wanted, got = theirs(ids).logits, ours(ids)
    assert got.shape == wanted.shape == (*ids.shape, ours.vocab_size)
    return float((got - wanted).abs().max()), float(wanted.abs().max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(f"{k}" for k in case))
def test_logits_are_those_of_transformers(write_llama, case):
    ids = torch.randint(0, 400, (2, 70), generator=torch.Generator().manual_seed(0))
    apart, size = logits_apart(write_llama(**case), ids)
    assert apart < 1e-5
    assert size > 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
@given(
    seed=st.integers(0, 2**31),
    groups=st.integers(1, 3),
    kv_heads=st.integers(1, 3),
    half=st.sampled_from([2, 4, 5]),
    tied=st.booleans(),
    length=st.integers(1, 33),
)
def test_random_shapes(
    tmp_path_factory, make_config, make_weights, seed, groups, kv_heads, half, tied, length
):
    from safetensors.numpy import save_file

    heads = groups * kv_heads
    config = make_config(
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        hidden_size=heads * 2 * half,
        tie_word_embeddings=tied,
        rope_theta=float(10 + seed % 1000),
    )
    folder = tmp_path_factory.mktemp("m")
    save_file(make_weights(config, seed), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    ids = torch.randint(0, 400, (1, length), generator=torch.Generator().manual_seed(seed))
    assert logits_apart(folder, ids)[0] < 1e-5


def test_qwen2_with_its_biases(tmp_path):
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=120, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True,
    )  # fmt: skip
    model = transformers.Qwen2ForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path)
    ids = torch.randint(0, 120, (2, 50))
    assert logits_apart(tmp_path, ids)[0] < 1e-5
    assert type(load_model(tmp_path)).__name__ == "LlamaLM"


def test_double_precision_shows_float32_to_be_the_only_error(write_llama):
    folder = write_llama()
    ids = torch.arange(100)[None]
    wide, single = load_model(folder, "float64")(ids), load_model(folder)(ids)
    assert wide.dtype == torch.float64
    assert 0 < float((wide - single).abs().max()) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_rotary_angles_are_exact_to_the_last_bit_of_the_dtype(write_llama, dtype):
    """A table rounded to bfloat16 before it is multiplied by the position would be off by radians at 400."""
    model = load_model(write_llama(), dtype)
    seen = {}
    model.model.layers[1].register_forward_pre_hook(lambda _, x: seen.update(cos=x[1], sin=x[2]))
    model(torch.arange(400)[None])
    frequencies = 10000.0 ** (-np.arange(0, 8, 2) / 8)
    angles = np.tile(np.outer(np.arange(400), frequencies), 2)
    # Half an ulp of the dtype below 1, and what float32 makes of an angle of 400.
    allowed = torch.finfo(model.model.norm.weight.dtype).eps / 4 + 400 * 2.0**-23
    assert np.abs(seen["cos"].double().numpy() - np.cos(angles)).max() < allowed
    assert np.abs(seen["sin"].double().numpy() - np.sin(angles)).max() < allowed
