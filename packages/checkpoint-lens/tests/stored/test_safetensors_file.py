"""safetensors, one file and shards, against what was written with the library."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from checkpoint_lens import open_checkpoint
from checkpoint_lens.stored.safetensors_file import SafetensorsFile
from mfi_command import BadInput

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.int64, np.uint8, np.bool_]


@given(
    seed=st.integers(0, 2**32 - 1), shapes=st.lists(st.sampled_from([(), (0, 3), (5,), (3, 4), (2, 3, 2)]))
)
def test_every_dtype_and_shape_comes_back(tmp_path_factory, seed, shapes):
    rng = np.random.default_rng(seed)
    tensors = {
        f"t{i}": np.asarray(rng.normal(size=shape) * 50).astype(DTYPES[rng.integers(len(DTYPES))])
        for i, shape in enumerate([*shapes, (2, 2)])
    }
    path = tmp_path_factory.mktemp("st") / "x.safetensors"
    path.write_bytes(save(tensors))
    opened = open_checkpoint(path)
    assert set(opened) == set(tensors)
    for name, wanted in tensors.items():
        got = opened[name]
        assert got.dtype == wanted.dtype == np.dtype(opened.tensors[name].dtype)
        assert got.shape == wanted.shape == opened.tensors[name].shape
        assert got.nbytes == wanted.nbytes == opened.tensors[name].nbytes
        assert got.tobytes() == wanted.tobytes()


def test_fp8_comes_as_ml_dtypes(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    values = torch.linspace(-400, 400, 33)
    save_torch({"w": values.to(torch.float8_e4m3fn)}, tmp_path / "x.safetensors")
    got = open_checkpoint(tmp_path / "x.safetensors")["w"]
    assert got.dtype == ml_dtypes.float8_e4m3fn
    np.testing.assert_array_equal(got.astype(np.float32), values.to(torch.float8_e4m3fn).float().numpy())


def test_shards_read_as_one(tmp_path):
    rng = np.random.default_rng(0)
    whole = {f"layer.{i}.weight": rng.normal(size=(3, 2)).astype(np.float32) for i in range(4)}
    names = list(whole)
    files = {"model-1.safetensors": names[:2], "model-2.safetensors": names[2:]}
    for file, part in files.items():
        save_file({name: whole[name] for name in part}, tmp_path / file)
    where = {name: file for file, part in files.items() for name in part}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    opened = open_checkpoint(tmp_path)
    assert opened.format == "safetensors"
    assert {name: value.tolist() for name, value in opened.items()} == {
        name: value.tolist() for name, value in whole.items()
    }


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"w": "gone.safetensors"}}, "gone.safetensors"),
        ({"weight_map": {"other": "x.safetensors"}}, "does not hold it"),
        ({"weight_map": {"w": "../x.safetensors"}}, "same folder"),
        ({"weight_map": {}}, "weight_map"),
        ({"metadata": {}}, "weight_map"),
        ([], "weight_map"),
    ],
)
def test_a_bad_index_is_one_line(tmp_path, index, says):
    save_file({"w": np.ones(3, np.float32)}, tmp_path / "x.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadInput, match=says):
        open_checkpoint(tmp_path)


def good_bytes() -> bytes:
    return save({"w": np.arange(12, dtype=np.float32)})


@pytest.mark.parametrize(
    "content",
    [
        good_bytes()[:-1],
        good_bytes()[:20],
        good_bytes()[:5],
        good_bytes() + b"x",
        struct.pack("<Q", 2**63) + good_bytes()[8:],
        struct.pack("<Q", 10**12) + good_bytes()[8:],
        struct.pack("<Q", 4) + b"abcd",
        b"hello, this is no checkpoint",
    ],
    ids=["short", "in-header", "in-length", "too-long", "length-2^63", "length-1e12", "no-json", "text"],
)
def test_a_damaged_file_is_bad_input(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="not a whole safetensors file") as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_shrinks_after_opening_is_bad_input(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(good_bytes())
    opened = SafetensorsFile(path)
    path.write_bytes(good_bytes()[:-4])
    with pytest.raises(BadInput, match="4 bytes too early"):
        opened.read("w")
