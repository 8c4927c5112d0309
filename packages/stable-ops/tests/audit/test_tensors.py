"""The audit of tensors alone: planted hazards and clean tensors, both true by execution in the format."""

import numpy as np
import pytest

ml_dtypes = pytest.importorskip("ml_dtypes")
torch = pytest.importorskip("torch")

from mfi_command import BadInput  # noqa: E402
from stable_ops.audit import audit_tensors, load_tensors  # noqa: E402

DTYPES = {
    "fp16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "fp8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "fp8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
BITS = {"fp16": 11, "bf16": 8, "fp8_e4m3fn": 4, "fp8_e5m2": 3}


def normal(*shape: int, mean: float = 0.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return (mean + scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def shows(kind: str, op: str, x: np.ndarray, format: str) -> bool:
    """Whether numpy, with the tensor in the format, shows the hazard."""
    with np.errstate(all="ignore"):
        stored = x.astype(DTYPES[format]).astype(np.float64)
        if kind == "overflow":
            return not np.isfinite(stored).all()
        if kind == "underflow":
            return float(np.mean(stored[x != 0] == 0)) >= 0.1
        if op == "var":
            error = np.abs(stored.var(axis=-1) / x.astype(np.float64).var(axis=-1) - 1)
            return float(np.mean(error >= 2.0 ** (-BITS[format] / 2))) >= 1 / 3
        total = np.zeros(x.shape[:-1], dtype=DTYPES[format])
        stuck = 0
        for i in range(x.shape[-1]):
            new = (total.astype(np.float32) + stored[..., i].astype(np.float32)).astype(DTYPES[format])
            stuck += int((new == total).sum()) if i > x.shape[-1] // 2 else 0
            total = new
        return stuck >= 0.25 * x.size / 2


PLANTED = [
    ("overflow", "store", "fp16", normal(64, scale=1e5)),
    ("overflow", "store", "fp16", np.array([65_520.0, 1.0])),
    ("overflow", "store", "fp8_e4m3fn", normal(16, 16, scale=300)),
    ("overflow", "store", "fp8_e5m2", normal(16, 16, scale=5e4)),
    ("overflow", "store", "bf16", np.array([3.4e38, 1.0], dtype=np.float32)),
    ("underflow", "store", "fp16", normal(64, 64, scale=1e-8)),
    ("underflow", "store", "fp8_e4m3fn", normal(64, 64, scale=2e-3)),
    ("underflow", "store", "fp8_e5m2", normal(64, 64, scale=1e-5)),
    ("underflow", "store", "bf16", normal(64, 64, scale=1e-41)),
    ("cancellation", "var", "fp16", normal(64, 64, mean=3000)),
    ("cancellation", "var", "bf16", normal(64, 64, mean=300)),
    ("cancellation", "var", "fp8_e4m3fn", normal(64, 64, mean=100)),
    ("cancellation", "var", "fp8_e5m2", normal(64, 64, mean=100)),
    ("cancellation", "var", "bf16", normal(4, 16, 64, mean=-1000)),
    ("absorption", "sum", "bf16", np.ones((8, 4096), np.float32)),
    ("absorption", "sum", "fp16", np.full((8, 8192), 0.01, np.float32)),
    ("absorption", "sum", "fp8_e4m3fn", np.ones((8, 64), np.float32)),
]
CLEAN = {
    "weight": normal(64, 256, scale=0.06),
    "small weight": normal(64, 256, scale=0.005),
    "norm weight": normal(256, mean=1, scale=0.02),
    "bias": normal(256, scale=0.1),
    "zeros": np.zeros((4, 16), np.float32),
    "constant": np.full((4, 16), 7.0, np.float32),
    "activations": normal(64, 256),
    "activations, mean 2": normal(64, 256, mean=2),
    "positive": np.abs(normal(64, 256)),
    "outliers": np.where(normal(64, 256) > 3, 100.0, normal(64, 256)).astype(np.float32),
    "one number": np.array(3.0),
    "one column": normal(64, 1),
    "whole numbers": np.arange(64).reshape(4, 16),
    "wide": normal(16, 512, scale=30),
}


@pytest.mark.parametrize(("kind", "op", "format", "x"), PLANTED)
def test_a_planted_hazard_is_found(kind, op, format, x):
    assert shows(kind, op, x, format)
    found = audit_tensors({"x": x}, formats=[format], accumulator="same" if op == "sum" else "fp32").hazards
    assert (kind, op, format) in {(h.kind, h.op, h.format) for h in found}
    assert all(h.where == h.tensor == "x" and h.fix for h in found)


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_tensor_is_not_accused(name):
    x = CLEAN[name]
    for format in ("fp16", "bf16"):
        assert not shows("overflow", "store", x, format)
    assert audit_tensors({name: x}).hazards == ()


def test_kinds_of_arrays(tmp_path):
    x = 1e5 * np.ones(4)
    for kind in (x, x.astype(np.float32), torch.tensor(x), x.astype(ml_dtypes.bfloat16), x.astype(np.int64)):
        (hazard,) = audit_tensors({"x": kind}, formats=["fp16"]).hazards
        assert hazard.safe_dtype == "bf16"
    (hazard,) = audit_tensors({"x": np.array([1e300])}, formats=["bf16"]).hazards
    assert (hazard.kind, hazard.safe_dtype) == ("overflow", "fp64")
    np.savez(tmp_path / "a.npz", x=x, names=np.array(["a"]), flags=np.array([True]))
    report = audit_tensors(load_tensors(tmp_path / "a.npz"), formats=["fp16"])
    assert (report.operations, len(report.hazards)) == (1, 1)


def test_a_safetensors_file(tmp_path):
    pytest.importorskip("checkpoint_lens")
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(
        {"w": torch.full((4, 8), 1e5), "b": torch.ones(3).bfloat16()}, tmp_path / "a.safetensors"
    )
    report = audit_tensors(load_tensors(tmp_path / "a.safetensors"))
    assert {(h.where, h.kind, h.format) for h in report.hazards} == {("w", "overflow", "fp16")}
    assert report.operations == 2


def test_bad_input():
    with pytest.raises(BadInput, match="NaN"):
        audit_tensors({"x": np.array([np.nan])})
    with pytest.raises(BadInput, match="no tensor"):
        audit_tensors({})
    with pytest.raises(BadInput, match="fp32"):
        audit_tensors({"x": np.ones(2)}, formats=["fp32"])
