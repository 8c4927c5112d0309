"""The linear baseline against numpy's least squares, and unusable rows."""

from pathlib import Path

import numpy as np
import pytest

from latency_predictor import fit
from latency_predictor.baseline import read_rows
from mfi_command import BadInput
from roofline import analyze

MODELS = ["opt-125m", "opt-1.3b", "opt-6.7b", "llama-2-7b"]


def made(noise: float = 0.0) -> list[dict]:
    generator = np.random.default_rng(0)
    rows = []
    for model in MODELS:
        size = analyze(model, device="H100").parameters / 1e9
        for batch in (1, 4, 16):
            for prompt in (64, 256, 1024):
                seconds = 0.01 * size + 1e-5 * prompt + 2e-3 * batch + 0.005
                rows.append(
                    {
                        "model": model,
                        "batch": batch,
                        "prompt": prompt,
                        "latency_s": seconds * float(np.exp(noise * generator.standard_normal())),
                    }
                )
    return rows


def test_an_exact_line_is_found() -> None:
    found = fit(made())
    assert found.coefficients == pytest.approx((0.01, 1e-5, 2e-3, 0.005), rel=1e-9)
    assert found.r2 == pytest.approx(1)
    assert found.worst_ape < 1e-9
    assert found.held_out_worst_ape is not None
    assert found.held_out_worst_ape < 1e-9


def test_equals_numpy_on_noisy_rows() -> None:
    rows = made(noise=0.3)
    design = np.array(
        [
            [analyze(row["model"], device="H100").parameters / 1e9, row["prompt"], row["batch"], 1]
            for row in rows
        ]
    )
    measured = np.array([row["latency_s"] for row in rows])
    solution, residual, *_ = np.linalg.lstsq(design, measured, rcond=None)
    found = fit(rows)
    assert found.coefficients == pytest.approx(tuple(solution), rel=1e-8)
    assert found.r2 == pytest.approx(1 - residual[0] / np.sum((measured - measured.mean()) ** 2))
    assert found.median_ape == pytest.approx(np.median(np.abs(design @ solution / measured - 1)))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(BadInput, match="at least 8"):
        fit(made()[:7])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model,batch\ngpt2,1\n",
        "model,batch,prompt,latency_s\ngpt2,1,2,nan\n",
        "model,batch,prompt,latency_s\ngpt2,1,2,-3\n",
        "model,batch,prompt,latency_s\ngpt2,one,2,3\n",
        "model,batch,prompt,latency_s\ngpt2,1,2,1e300\n",
    ],
)
def test_unusable_rows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(BadInput):
        fit(read_rows(path))


def test_rows_from_json_and_of_one_phase(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(
        '{"rows": [{"model": "gpt2", "batch": 1, "prompt": 2, "latency_s": 3, "phase": "decode"}]}'
    )
    assert len(read_rows(path)) == 1
    assert read_rows(path, phase="prefill") == []
    path.write_text('{"other": 1}')
    with pytest.raises(BadInput, match="cannot be read"):
        read_rows(path)
    with pytest.raises(BadInput, match="no such file"):
        read_rows(tmp_path / "none.csv")
