"""Files of torch.save, good and hostile."""

import pickle

import ml_dtypes
import numpy as np
import pytest

from checkpoint_lens import open_checkpoint
from mfi_command import BadInput

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16", "int8", "float8_e4m3fn"])
def test_every_dtype_comes_back(tmp_path, name):
    values = (torch.linspace(-3, 3, 12).reshape(3, 4) * 10).to(getattr(torch, name))
    torch.save(
        {"w": values, "transposed": values.T, "p": torch.nn.Parameter(values, requires_grad=False)},
        tmp_path / "x.bin",
    )
    opened = open_checkpoint(tmp_path / "x.bin")
    kind = np.dtype(getattr(ml_dtypes, name, None) or name)
    for key, wanted in {"w": values, "transposed": values.T, "p": values}.items():
        got = opened[key]
        assert got.dtype == kind == np.dtype(opened.tensors[key].dtype)
        np.testing.assert_array_equal(got.astype(np.float64), wanted.double().numpy())


class Touch:
    """Unpickling this makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def save_zip(content, path):
    torch.save(content, path)


def save_bare(content, path):
    path.write_bytes(pickle.dumps(content))


def save_old(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [save_zip, save_bare, save_old])
@pytest.mark.parametrize("ending", [".bin", ".pt"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, save, ending):
    marker = tmp_path / "ran"
    path = tmp_path / f"x{ending}"
    save({"w": torch.ones(3), "trap": Touch(marker)}, path)
    marker.unlink(missing_ok=True)
    with pytest.raises(BadInput) as caught:
        open_checkpoint(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)
    if save is save_zip:
        assert "was not run" in str(caught.value)
        torch.load(path, weights_only=False)  # the file does hold the trap
        assert marker.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"w": torch.ones(2), "step": 7}, "'step' is a int"),
        ({"model": {"w": torch.ones(2)}}, "'model' is a dict"),
        ([torch.ones(2)], "holds a list"),
        ({"w": torch.ones(3, 3).to_sparse()}, "dense"),
        ({3: torch.ones(2)}, "3 is a Tensor"),
    ],
)
def test_what_is_no_tensor_is_named(tmp_path, content, says):
    torch.save(content, tmp_path / "x.bin")
    with pytest.raises(BadInput, match=says):
        open_checkpoint(tmp_path / "x.bin")


def test_truncated(tmp_path):
    torch.save({"w": torch.ones(1000)}, tmp_path / "x.bin")
    (tmp_path / "x.bin").write_bytes((tmp_path / "x.bin").read_bytes()[:2000])
    with pytest.raises(BadInput, match="not a whole torch checkpoint"):
        open_checkpoint(tmp_path / "x.bin")


def test_shards_with_an_index(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-1.bin")
    torch.save({"b": torch.zeros(3)}, tmp_path / "pytorch_model-2.bin")
    (tmp_path / "pytorch_model.bin.index.json").write_text(
        '{"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}'
    )
    opened = open_checkpoint(tmp_path)
    assert {name: value.tolist() for name, value in opened.items()} == {"a": [1, 1], "b": [0, 0, 0]}
