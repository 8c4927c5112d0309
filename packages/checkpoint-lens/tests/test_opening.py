"""From what a user names to a checkpoint."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from checkpoint_lens import open_checkpoint
from mfi_command import BadInput

ONE = {"w": np.ones((2, 2), np.float32)}


def test_folder_and_file_give_the_same(write_llama):
    folder = write_llama()
    by_folder, by_file = open_checkpoint(folder), open_checkpoint(str(folder / "model.safetensors"))
    assert by_folder.tensors == by_file.tensors
    assert by_folder.config == by_file.config == json.loads((folder / "config.json").read_text())
    assert by_folder.format == "safetensors"
    assert repr(by_folder).startswith("Checkpoint(")


def test_listing_and_asking_for_a_name_read_no_tensor(write_llama, monkeypatch):
    checkpoint = open_checkpoint(write_llama())
    monkeypatch.setattr("checkpoint_lens.stored.safetensors_file.read_array", None)
    assert "model.norm.weight" in checkpoint
    assert "lm_head.weight" not in checkpoint
    assert len(checkpoint) == len(list(checkpoint)) == len(checkpoint.tensors)
    assert checkpoint.linear_layers()
    with pytest.raises(KeyError, match=r"lm_head\.weight"):
        checkpoint["lm_head.weight"]


def test_safetensors_are_preferred_to_a_pickle(tmp_path):
    save_file(ONE, tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(b"never opened")
    assert open_checkpoint(tmp_path).format == "safetensors"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no weights"),
        ({"README.md": b"x"}, "no weights"),
        ({"a.safetensors": b"x", "b.safetensors": b"x"}, "no index"),
        ({"model.safetensors": b""}, "is empty"),
        ({"model.safetensors": b"\x08\0\0\0\0\0\0\0{}      ", "config.json": b"{}"}, "holds no tensor"),
    ],
)
def test_a_folder_without_usable_weights(tmp_path, files, says):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=says):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("config", [b"{", b"[]", b'"x"', b"\xff\xfe{}"])
def test_a_broken_configuration(tmp_path, config):
    save_file(ONE, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(BadInput, match=r"config\.json"):
        open_checkpoint(tmp_path)


def test_a_missing_path_and_an_unknown_ending(tmp_path):
    with pytest.raises(BadInput, match="no such file or folder"):
        open_checkpoint(tmp_path / "gone")
    (tmp_path / "x.onnx").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"unknown ending \.onnx"):
        open_checkpoint(tmp_path / "x.onnx")
