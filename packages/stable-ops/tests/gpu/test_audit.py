"""The audit of a run on a GPU finds what that of the same run on the CPU finds."""

import copy
import importlib.util
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ml_dtypes")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

from stable_ops.audit import audit, audit_tensors  # noqa: E402

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).parents[1] / "audit" / "planted.py")
planted = importlib.util.module_from_spec(_spec)
sys.modules["planted"] = planted  # dataclasses look their module up by name
_spec.loader.exec_module(planted)


def found_in(function, inputs, formats):
    return {(h.kind, h.op, h.format) for h in audit(function, *inputs, formats=formats).hazards}


def test_planted_hazards_are_found_on_the_gpu(capsys):
    plants = planted.plants()
    missed = []
    for p in plants:
        function = copy.deepcopy(p.function).cuda() if isinstance(p.function, torch.nn.Module) else p.function
        inputs = tuple(x.clone().cuda() for x in p.inputs)
        if (p.kind, p.op, p.format) not in found_in(function, inputs, [p.format]):
            missed.append(str(p))
    with capsys.disabled():
        print(f"\naudit on the GPU: {len(plants) - len(missed)} of {len(plants)} planted hazards found")
    assert len(missed) <= 0.05 * len(plants), missed


def test_clean_modules_are_not_accused_on_the_gpu(capsys):
    wrong, count = {}, 0
    for name, (function, x) in planted.clean().items():
        moved = copy.deepcopy(function).cuda() if isinstance(function, torch.nn.Module) else function
        count += 1
        if hazards := found_in(moved, (x.clone().cuda(),), ["fp16", "bf16"]):
            wrong[name] = hazards
    with capsys.disabled():
        print(f"\naudit on the GPU: {len(wrong)} false alarms in {count} clean modules")
    assert len(wrong) <= 0.05 * count, wrong


def test_tensors_on_the_gpu():
    tensors = {"large": torch.tensor([1e5, 1.0]), "rows": 3000 + planted.normal(64, 64)}
    there = audit_tensors({name: x.cuda() for name, x in tensors.items()}).hazards
    assert there == audit_tensors(tensors).hazards
