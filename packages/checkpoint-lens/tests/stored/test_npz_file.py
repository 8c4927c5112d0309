"""npz files, good and hostile."""

import pickle
import zipfile

import numpy as np
import pytest

from checkpoint_lens import open_checkpoint
from mfi_command import BadInput


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    rng = np.random.default_rng(0)
    arrays = {
        "a.weight": rng.normal(size=(3, 5)),
        "b": rng.normal(size=(4,)).astype(np.float16),
        "c": np.asfortranarray(rng.integers(-5, 5, (3, 4))),
    }
    save(tmp_path / "x.npz", **arrays)
    opened = open_checkpoint(tmp_path / "x.npz")
    assert list(opened) == list(arrays)
    for name, wanted in arrays.items():
        np.testing.assert_array_equal(opened[name], wanted, strict=True)
        info = opened.tensors[name]
        assert (info.shape, info.dtype, info.nbytes) == (wanted.shape, wanted.dtype.name, wanted.nbytes)


class Touch:
    """Unpickling this makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def test_a_pickle_inside_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "ran"
    np.savez(tmp_path / "x.npz", a=np.array([Touch(marker)], dtype=object))
    with pytest.raises(BadInput, match="holds object"):
        open_checkpoint(tmp_path / "x.npz")
    assert not marker.exists()
    # The file does hold the trap: numpy, told to trust it, springs it.
    with zipfile.ZipFile(tmp_path / "x.npz") as archive, archive.open("a.npy") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        pickle.load(file)
    assert marker.exists()


def test_a_header_that_claims_more_than_there_is(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("a.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"shape": (10**9, 10**6), "fortran_order": False, "descr": "<f8"}
        )
    with pytest.raises(BadInput, match="should take"):
        open_checkpoint(path)


@pytest.mark.parametrize("cut", [10, 100, -30])
def test_truncated(tmp_path, cut):
    np.savez(tmp_path / "whole.npz", a=np.arange(100.0))
    (tmp_path / "x.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:cut])
    with pytest.raises(BadInput, match="not a whole npz"):
        open_checkpoint(tmp_path / "x.npz")


def test_damage_inside_an_array_is_noticed(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(1000.0))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[4000] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(BadInput, match="cannot be read"):
        open_checkpoint(tmp_path / "x.npz")["a"]
