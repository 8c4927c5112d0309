"""What is on disk: shards, folded weights, tied heads, stock transformers, resumed work."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import svd_compress
from checkpoint_lens import load_model, open_checkpoint
from mfi_command import BadInput
from svd_compress import compress, load_compressed
from svd_compress.folder import Factors, dense_bytes, own_tensors, write_folder
from svd_compress.gradients import moments
from svd_compress.layer_store import LayerStore
from svd_compress.preparation import LayerTask, prepare, prepare_layer
from svd_compress.texts import spread_windows

SMALL = {"context": 64, "calibration_tokens": 1536}
LOADER = Path(svd_compress.__file__).parent / "transformers_loader.py"


@pytest.fixture(scope="module", params=["two", "pivoted"])
def written(request, tiny, texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / request.param
    return folder, compress(tiny, **texts, output=folder, keep=0.7, layout=request.param, **SMALL)


READ = """
import json, sys, torch
sys.path.insert(0, {loader!r})
from transformers_loader import load_factored
assert "svd_compress" not in sys.modules
for number, folder in enumerate({folders!r}):
    try:
        model = load_factored(folder)
    except RuntimeError as error:
        print(json.dumps(str(error)))
        continue
    with torch.no_grad():
        torch.save(model(torch.arange(60)[None]).logits, {out!r} + str(number))
"""


def test_stock_transformers_gives_the_same_logits_in_a_fresh_process(tiny, texts, tmp_path):
    pytest.importorskip("transformers")
    folders = [tmp_path / "two", tmp_path / "pivoted"]
    for folder in folders:
        compress(tiny, **texts, output=folder, keep=0.7, layout=folder.name, **SMALL)
    # One factor renamed: not what was compressed any more, so it must fail.
    broken = tmp_path / "broken"
    shutil.copytree(folders[0], broken)
    tensors = load_file(broken / "factored.safetensors")
    name = next(key for key in tensors if key.endswith(".left"))
    tensors[name + "s"] = tensors.pop(name)
    save_file(tensors, broken / "factored.safetensors", metadata={"format": "pt"})
    every = [str(folder) for folder in (*folders, broken)]
    code = READ.format(loader=str(LOADER.parent), folders=every, out=str(tmp_path / "logits"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert name in json.loads(done.stdout.splitlines()[-1])
    assert not (tmp_path / "logits2").exists()
    for number, folder in enumerate(folders):
        theirs = torch.load(tmp_path / f"logits{number}")
        assert (theirs - load_compressed(folder)(torch.arange(60)[None])).abs().max() < 1e-4


def test_the_loader_is_short_and_needs_nothing_of_ours():
    lines = LOADER.read_text().splitlines()
    assert len(lines) <= 60
    assert not any("import svd_compress" in line or "from svd_compress" in line for line in lines)


def test_folded_weights_are_the_products_and_load_anywhere(tiny, texts, tmp_path):
    plain = compress(tiny, **texts, output=tmp_path / "f", keep=0.7, **SMALL)
    folded = compress(tiny, **texts, output=tmp_path / "d", keep=0.7, fold=True, **SMALL)
    assert folded.perplexity_after == plain.perplexity_after
    assert folded.bytes_after > plain.bytes_after
    ids = torch.arange(50)[None]
    ours = load_compressed(tmp_path / "f")(ids)
    for again in (load_model(tmp_path / "d"), load_compressed(tmp_path / "d")):
        assert (again(ids) - ours).abs().max() < 1e-4
    assert open_checkpoint(tmp_path / "d").tensors.keys() == open_checkpoint(tiny).tensors.keys()


def test_shards_hold_what_one_file_does(written, tiny, tmp_path):
    folder, result = written
    stored = load_file(folder / "factored.safetensors")
    pairs = {
        layer.name: Factors(
            *(torch.from_numpy(stored[f"{layer.name}.{part}"]) for part in ("left", "right")),
            torch.from_numpy(stored[f"{layer.name}.pivots"]) if result.form == "pivoted" else None,
        )
        for layer in result.layers
        if layer.rank
    }
    size = write_folder(tmp_path / "s", open_checkpoint(tiny), pairs, result.manifest(), shard_bytes=40_000)
    manifest = json.loads((tmp_path / "s" / "svd_compress.json").read_text())
    assert len(manifest["files"]) > 2
    shards = [load_file(tmp_path / "s" / name) for name in manifest["files"]]
    assert {key for shard in shards for key in shard} == stored.keys()
    for shard in shards:
        assert sum(t.nbytes for t in shard.values()) <= 40_000 or len(shard) == 1
        for key, value in shard.items():
            np.testing.assert_array_equal(value, stored[key])
    index = json.loads((tmp_path / "s" / "factored.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == stored.keys()
    assert size == sum((tmp_path / "s" / name).stat().st_size for name in manifest["files"])
    ids = torch.arange(40)[None]
    assert torch.equal(load_compressed(tmp_path / "s")(ids), load_compressed(folder)(ids))


def test_a_tied_head_that_is_stored_twice_counts_and_is_written_once(writer, tmp_path, texts):
    def twice(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()

    double = writer(tmp_path / "double", change=twice)
    single = writer(tmp_path / "single")
    assert dense_bytes(open_checkpoint(double)) == dense_bytes(open_checkpoint(single))
    assert "lm_head.weight" not in own_tensors(open_checkpoint(double))
    result = compress(double, **texts, output=tmp_path / "out", keep=0.7, **SMALL)
    stored = load_file(tmp_path / "out" / "factored.safetensors")
    assert "lm_head.weight" not in stored
    whole = sum(t.size for name, t in stored.items() if not name.endswith(".pivots"))
    before = sum(np.prod(i.shape) for i in open_checkpoint(single).tensors.values())
    assert result.kept_model == pytest.approx(whole / before, rel=1e-12)


def test_a_bound_on_bytes_holds_on_disk(tiny, texts, tmp_path):
    bound = int(0.8 * dense_bytes(open_checkpoint(tiny)))
    result = compress(tiny, **texts, output=tmp_path / "out", max_bytes=bound, **SMALL)
    tensors = load_file(tmp_path / "out" / "factored.safetensors")
    assert sum(t.nbytes for t in tensors.values()) <= bound
    assert result.bytes_after <= bound + 8192  # the header
    assert sum(t.nbytes for t in tensors.values()) > 0.9 * bound


class TestResuming:
    @pytest.fixture
    def given(self, tiny, texts):
        model = load_model(tiny)
        windows = spread_windows(model, texts["calibration"].read_text(), context=64, max_tokens=512)
        return model, windows, list(model.linear_layers())[:6]

    def test_finished_layers_are_not_made_again(self, given, tmp_path, monkeypatch):
        from svd_compress import preparation

        model, windows, names = given
        first = prepare(model, windows, names, work=tmp_path, keep_gradients=True)
        store = LayerStore(next(tmp_path.iterdir()))
        assert sorted(store) == sorted(names)
        del store[names[2]]
        made = []
        real = preparation.moments
        monkeypatch.setattr(
            preparation, "moments", lambda m, w, n, **o: made.append(list(n)) or real(m, w, n, **o)
        )
        again = prepare(model, windows, names, work=tmp_path, keep_gradients=True)
        assert made == [[names[2]]]
        for name in names:
            np.testing.assert_array_equal(first[name].losses, again[name].losses)
            assert torch.equal(first[name].factors.left, again[name].factors.left)
            assert torch.equal(first[name].gradients, again[name].gradients)
        assert list(again) == names

    def test_other_text_is_other_work(self, given, tmp_path):
        model, windows, names = given
        prepare(model, windows, names[:1], work=tmp_path)
        prepare(model, windows[:-1], names[:1], work=tmp_path)
        prepare(model, windows, names[:1], work=tmp_path, seed=1)
        assert len(list(tmp_path.iterdir())) == 3

    def test_a_bound_on_memory_makes_groups_with_the_same_result(self, given, tmp_path):
        model, windows, names = given
        whole = prepare(model, windows, names)
        ticks = []
        parts = prepare(model, windows, names, memory_bytes=70_000, on_progress=lambda *at: ticks.append(at))
        assert ticks[-1] == (6, 6)
        for name in names:
            np.testing.assert_array_equal(whole[name].losses, parts[name].losses)
        with pytest.raises(BadInput, match="moments"):
            prepare(model, windows, names, memory_bytes=1000)

    def test_a_task_that_travels_gives_the_same_bits(self, given):
        model, windows, names = given
        seen = moments(model, windows, names[:1])[names[0]]
        weight = model.linear_layers()[names[0]].weight.detach()
        task = LayerTask(names[0], weight, seen, None, keep_gradients=True)
        packed = pickle.dumps(task)
        assert b"torch" not in packed.replace(b"svd_compress", b"")
        here, there = prepare_layer(task), pickle.loads(pickle.dumps(prepare_layer(pickle.loads(packed))))
        assert torch.equal(here.factors.left, there.factors.left)
        assert torch.equal(here.factors.right, there.factors.right)
        assert torch.equal(here.gradients, there.gradients)
        np.testing.assert_array_equal(here.losses, there.losses)

    @pytest.mark.slow
    def test_other_executors_give_the_same_bits(self, given):
        model, windows, names = given
        here = prepare(model, windows, names)
        there = prepare(model, windows, names, executor="processes")
        for name in names:
            assert torch.equal(here[name].factors.left, there[name].factors.left)
            assert torch.equal(here[name].factors.right, there[name].factors.right)
            np.testing.assert_array_equal(here[name].losses, there[name].losses)

    @pytest.mark.slow
    def test_ray_gives_the_same_ranks_and_bits(self, tiny, texts, tmp_path):
        pytest.importorskip("ray")
        one, two = (
            compress(tiny, **texts, output=tmp_path / name, keep=0.7, executor=name, **SMALL)
            for name in ("serial", "ray")
        )
        assert [layer.rank for layer in one.layers] == [layer.rank for layer in two.layers]
        files = [tmp_path / name / "factored.safetensors" for name in ("serial", "ray")]
        assert files[0].read_bytes() == files[1].read_bytes()
