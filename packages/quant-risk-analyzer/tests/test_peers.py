"""The same numbers as compressed-tensors and torchao, where they are installed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quant_risk_analyzer import quantize

SEED = st.integers(0, 2**32)


def draw(seed):
    W = np.random.default_rng(seed).standard_t(4, (6, 128)).astype(np.float32)
    return torch.from_numpy(W)


@given(
    SEED, st.sampled_from([("int8", 8, "int"), ("int4", 4, "int"), ("fp8_e4m3", 8, "float")]), st.booleans()
)
def test_compressed_tensors_rounds_to_the_same_numbers(seed, format, grouped):
    name, bits, kind = format
    library = pytest.importorskip("compressed_tensors.quantization", reason="compressed-tensors is absent")
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize

    W = draw(seed)
    found = quantize(W, name, granularity=32 if grouped else "channel")
    arguments = library.QuantizationArgs(
        num_bits=bits,
        type=kind,
        symmetric=True,
        strategy="group" if grouped else "channel",
        group_size=32 if grouped else None,
    )
    zeros = torch.zeros_like(found.scales)
    theirs = fake_quantize(W, found.scales, zeros, arguments)
    torch.testing.assert_close(found.dequantized, theirs, rtol=0, atol=0)


@given(SEED, st.sampled_from([8, 4]), st.sampled_from([32, 128]))
def test_torchao_gives_the_same_codes(seed, bits, group):
    primitives = pytest.importorskip("torchao.quantization.quant_primitives", reason="torchao is absent")
    W = draw(seed)
    found = quantize(W, f"int{bits}", granularity=group)
    zeros = torch.zeros_like(found.scales, dtype=torch.int32)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    theirs = primitives.quantize_affine(W, (1, group), found.scales, zeros, torch.int8, low, high)
    # torchao multiplies by the reciprocal of the scale: a quotient on a tie may go the other way.
    different = found.codes != theirs
    quotient = (W / found.scales.repeat_interleave(group, 1)).double()
    assert ((quotient - quotient.floor() - 0.5).abs()[different] < 1e-4).all()
    assert different.double().mean() < 0.01
