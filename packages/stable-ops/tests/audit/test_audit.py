"""Planted hazards are found, clean modules are not accused; both are true by execution in the format."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")
torch = pytest.importorskip("torch")

from mfi_command import BadInput  # noqa: E402
from stable_ops.audit import audit  # noqa: E402

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).parent / "planted.py")
planted = importlib.util.module_from_spec(_spec)
# dataclasses look their module up by name.
sys.modules["planted"] = planted
_spec.loader.exec_module(planted)

PLANTS = planted.plants()
CLEAN = planted.clean()
KINDS = ("overflow", "underflow", "absorption", "cancellation")


def found_in(function, inputs, format):
    inputs = tuple(x.clone() for x in inputs)
    return {(h.kind, h.op) for h in audit(function, *inputs, formats=[format]).hazards}


def test_recall_of_planted_hazards(capsys):
    real = [p for p in PLANTS if planted.shows(p.kind, p.function, p.inputs, p.format)]
    assert [str(p) for p in PLANTS if p not in real] == []
    missed = [str(p) for p in real if (p.kind, p.op) not in found_in(p.function, p.inputs, p.format)]
    recall = 1 - len(missed) / len(real)
    with capsys.disabled():
        print(f"\naudit: {len(real) - len(missed)} of {len(real)} planted hazards found, recall {recall:.1%}")
    assert len(real) >= 40
    assert {p.kind for p in real} == set(KINDS)
    assert {p.format for p in real} == set(planted.BITS)
    assert recall >= 0.95, missed


def test_false_alarms_on_clean_modules(capsys):
    cases = [(name, format) for name in CLEAN for format in ("fp16", "bf16")]
    wrong = {}
    for name, format in cases:
        function, x = CLEAN[name]
        true = planted.exact(function, (x,))
        low = planted.execute(function, (x,), format)
        error = float((low - true).norm() / true.norm())
        assert error < 2.0 ** (-planted.BITS[format] / 2), name
        if hazards := found_in(function, (x,), format):
            wrong[name, format] = hazards
    share = len(wrong) / len(cases)
    with capsys.disabled():
        print(f"\naudit: {len(wrong)} false alarms in {len(cases)} clean runs of {len(CLEAN)} modules")
    assert len(CLEAN) >= 20
    assert share <= 0.05, wrong


def test_single_operations_agree_with_execution():
    """Eight decades of scale, not chosen to be easy: what is reported shows, what shows is reported."""
    functions = {"mul": torch.mul, "add": torch.add, "sub": torch.sub}
    agreed, total, shown = 0, 0, 0
    for op, function in functions.items():
        for scale in (1e-5, 1e-3, 0.1, 1.0, 30.0, 1e3):
            for format in planted.BITS:
                inputs = (planted.normal(64, 32, scale=10), planted.normal(64, 32, scale=scale, seed=3))
                found = found_in(function, inputs, format)
                for kind in ("overflow", "underflow"):
                    true = planted.shows(kind, function, inputs, format)
                    anywhere = kind in {k for k, _ in found}
                    agreed += anywhere if true else (kind, op) not in found
                    shown += true
                    total += 1
    assert agreed >= 0.95 * total
    assert 10 <= shown <= total - 10


def test_near_the_border_of_cancellation():
    """Differences from a tenth of a rounding to the operands' own size: which lose half of the digits?"""
    agreed, total, shown = 0, 0, 0
    for format, bits in planted.BITS.items():
        for distance in 2.0 ** np.arange(-bits - 2, 1, 0.5):
            a = planted.normal(64, 32, mean=2, scale=0.3)
            inputs = (a, a + float(distance) * planted.normal(64, 32, mean=3, seed=1))
            found = ("cancellation", "sub") in found_in(torch.sub, inputs, format)
            true = planted.shows("cancellation", torch.sub, inputs, format)
            agreed += found == true
            shown += true
            total += 1
    assert agreed >= 0.95 * total, (agreed, total)
    assert 10 <= shown <= total - 10


def test_clean_single_operations_in_fp8():
    accused = []
    names = (
        "linear",
        "sigmoid",
        "tanh",
        "silu",
        "exp",
        "log_softmax",
        "softmax",
        "mean",
        "bilinear",
        "residual",
    )
    cases = [(n, f) for n in names for f in ("fp8_e4m3fn", "fp8_e5m2")]
    quiet = [
        (n, f)
        for n, f in cases
        if not any(planted.shows(k, CLEAN[n][0], (CLEAN[n][1],), f) for k in KINDS if k != "absorption")
    ]
    accused = [(n, f) for n, f in quiet if found_in(CLEAN[n][0], (CLEAN[n][1],), f)]
    assert len(quiet) >= 12
    assert len(accused) <= 0.05 * len(quiet), accused


def test_running_sums_in_the_format_itself():
    ones = torch.ones(4, 4096)
    assert not audit(lambda x: x.sum(-1), ones, formats=["bf16"]).hazards
    (hazard,) = audit(lambda x: x.sum(-1), ones, formats=["bf16"], accumulator="same").hazards
    assert (hazard.kind, hazard.op) == ("absorption", "sum")
    # numpy adds one after the other in float16: 2048 + 1 = 2048.
    assert np.cumsum(np.ones(4096, np.float16), dtype=np.float16)[-1] == 2048
    large = torch.full((4, 512), 200.0)
    assert not audit(lambda x: torch.nn.functional.rms_norm(x, (512,)), large).hazards
    kinds = {
        (h.kind, h.format)
        for h in audit(
            lambda x: torch.nn.functional.rms_norm(x, (512,)), large, accumulator="same", formats=["fp16"]
        ).hazards
    }
    assert ("overflow", "fp16") in kinds
    with np.errstate(over="ignore"):
        squares = np.cumsum(np.full(512, 200, np.float16) ** 2, dtype=np.float16)
    assert np.isinf(squares[-1])


def test_a_hazard_says_where_and_what_is_safe():
    model = torch.nn.Sequential(torch.nn.Identity(), planted._linear(64, 8))
    x = planted.normal(8, 64, scale=5e4).clamp(-6e4, 6e4)
    (hazard,) = audit(model, x, formats=["fp16"]).hazards
    assert (hazard.where, hazard.op, hazard.tensor, hazard.kind) == ("1", "addmm", "output", "overflow")
    assert (hazard.bits_lost, hazard.safe_dtype) == (11, "bf16")
    assert hazard.share == pytest.approx(float(model(x).detach().abs().max()) / 65504, rel=1e-6)
    assert not model._forward_hooks
    assert not model[1]._forward_pre_hooks


def test_only_the_origin_is_reported():
    report = audit(lambda x: (x * x).relu() + 1, planted.normal(8, 64, mean=300), formats=["fp16"])
    assert [(h.op, h.kind) for h in report.hazards] == [("mul", "overflow")]


def test_inputs_and_results_stay_as_they_are():
    x, seen = planted.normal(8, 64), []
    kept = x.clone()
    audit(lambda t: seen.append(t.sin() + 1), x)
    assert torch.equal(x, kept)
    assert torch.equal(seen[0], x.sin() + 1)


def test_a_mask_is_no_overflow():
    for low in (float("-inf"), torch.finfo(torch.float32).min):
        mask = torch.zeros(8, 8).masked_fill(torch.ones(8, 8).triu(1).bool(), low)
        report = audit(lambda x, m: (x + m).softmax(-1), planted.normal(8, 8), mask)
        assert [h for h in report.hazards if h.kind == "overflow"] == []


def test_what_is_made_from_constants_is_left_out():
    def turned(x):
        angle = torch.arange(x.shape[-1]) / 500_000.0 ** (torch.arange(x.shape[-1]) / x.shape[-1])
        return x * angle.cos()

    x = planted.normal(8, 32)
    assert audit(turned, x, formats=["fp16"]).hazards == ()
    assert audit(lambda t: t * (torch.full((32,), 1e3) ** 2), x, formats=["fp16"]).hazards


@pytest.mark.parametrize("write", ["whole", "view", "add", "out"])
def test_a_buffer_that_is_written_into_is_no_constant(write):
    def function(x):
        buffer = torch.zeros(8, 32)
        if write == "whole":
            buffer.copy_(x)
        elif write == "view":
            buffer[2:, :5] = x[2:, :5]
        elif write == "add":
            buffer += x
        else:
            buffer.index_put_((torch.arange(8),), x)
        return buffer * 1e5

    (hazard,) = audit(function, planted.normal(8, 32), formats=["fp16"]).hazards
    assert (hazard.op, hazard.kind) == ("mul", "overflow")


def test_masked_rows_are_judged_by_what_is_left():
    mask = torch.ones(64, 64).triu(1).bool()
    x = planted.normal(64, 64, mean=1500)
    for low in (float("-inf"), torch.finfo(torch.float32).min):
        report = audit(lambda x, low=low: x.masked_fill(mask, low).softmax(-1), x, formats=["fp16"])
        assert ("softmax", "cancellation") in {(h.op, h.kind) for h in report.hazards}


def test_float32_that_overflows_itself():
    report = audit(lambda x: x * x, torch.full((4,), 1e30), formats=["bf16"])
    (hazard,) = report.hazards
    assert (hazard.kind, hazard.safe_dtype) == ("overflow", "fp64")


def test_bad_input():
    x = torch.ones(3)
    with pytest.raises(BadInput, match="fp64"):
        audit(torch.exp, x, formats=["fp64"])
    with pytest.raises(BadInput, match="none"):
        audit(torch.exp, x, formats=[])
    with pytest.raises(BadInput, match="float32"):
        audit(torch.exp, x.half())
    with pytest.raises(BadInput, match="float32"):
        audit(torch.nn.Linear(3, 3).half(), x)
    with pytest.raises(BadInput, match="fails"):
        audit(torch.nn.Linear(4, 3), x)
    with pytest.raises(BadInput, match="accumulator"):
        audit(torch.exp, x, accumulator="int8")


def test_a_compiled_function_is_judged_by_its_operations_and_an_audit_compiles_nothing():
    x = torch.tensor([300.0, 2.0])
    script = "import sys, torch; from stable_ops.audit import audit; audit(torch.square, torch.ones(3)); "
    script += "sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    plain = audit(torch.square, x)
    compiled = audit(torch.compile(torch.square, backend="eager"), x)
    assert plain.hazards
    assert compiled.hazards == plain.hazards
    assert compiled.run_s > 0
