"""compress and back again on a tiny model, and the headline on the trained one."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from checkpoint_lens import load_model, open_checkpoint, perplexity, read_text, reference_text
from mfi_command import BadInput
from svd_compress import compress, compressibility, load_compressed
from svd_compress.evaluation import losses
from svd_compress.factored import FactoredLinear, PivotedLinear
from svd_compress.fusing import fuse
from svd_compress.pivoting import pivot
from svd_compress.preparation import balanced, prepare
from svd_compress.texts import spread_windows

SMALL = {"context": 64, "calibration_tokens": 1536}


@pytest.fixture(scope="module", params=["two", "pivoted"])
def halved(request, tiny, texts, tmp_path_factory):
    """The tiny model with 60 % of its layers' parameters, and the answer of `compress`."""
    folder = tmp_path_factory.mktemp("compressed") / "model"
    return folder, compress(tiny, **texts, output=folder, keep=0.6, layout=request.param, **SMALL)


def product(stored, name):
    """The weights of a stored layer, put together as the layout is documented."""
    left, right = stored[f"{name}.left"], stored[f"{name}.right"]
    pivots = stored.get(f"{name}.pivots")
    if pivots is None:
        return left @ right
    out = np.empty((len(left) + len(right), right.shape[1]), right.dtype)
    out[pivots] = right
    out[np.setdiff1d(np.arange(len(out)), pivots)] = left @ right
    return out


def test_a_reload_gives_the_perplexity_that_was_reported(halved, texts):
    folder, result = halved
    again = perplexity(load_compressed(folder), texts["evaluate"].read_text(), context=64)
    assert again.perplexity == pytest.approx(result.perplexity_after, rel=1e-6)
    assert again.tokens == result.evaluation_tokens
    assert result.perplexity_before != pytest.approx(result.perplexity_after, rel=1e-4)


def test_the_reload_is_the_product_of_the_factors(halved, tiny):
    folder, result = halved
    stored = load_file(folder / "factored.safetensors")
    dense = load_model(tiny)
    for layer in result.layers:
        if layer.rank is not None:
            dense.linear_layers()[layer.name].weight.copy_(torch.from_numpy(product(stored, layer.name)))
    ids = torch.arange(40)[None]
    expected = dense(ids)
    assert (load_compressed(folder)(ids) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_sizes_are_what_the_disk_says(halved, tiny):
    folder, result = halved
    stored, before = load_file(folder / "factored.safetensors"), open_checkpoint(tiny)
    after = sum(tensor.size for name, tensor in stored.items() if not name.endswith(".pivots"))
    numbers = sum(tensor.nbytes for tensor in stored.values())
    whole = sum(math.prod(info.shape) for info in before.tensors.values())
    assert result.kept_model == pytest.approx(after / whole, rel=1e-12)
    assert result.bytes_before == sum(info.nbytes for info in before.tensors.values())
    assert result.bytes_after == (folder / "factored.safetensors").stat().st_size < result.bytes_before
    assert 0 < result.bytes_after - numbers < 8192  # the header
    selected = sum(math.prod(layer.shape) for layer in result.layers)
    kept = sum(layer.kept * math.prod(layer.shape) for layer in result.layers)
    assert result.kept == pytest.approx(kept / selected)
    assert result.kept <= 0.6
    for layer in result.layers:
        assert layer.rank is None or layer.rank % 8 == 0
        assert layer.rank is None or result.form == "pivoted" or layer.rank < layer.break_even_rank
        assert layer.rank is None or layer.kept <= 0.95


def test_everything_else_is_stored_as_it_was(halved, tiny):
    folder, result = halved
    stored, before = load_file(folder / "factored.safetensors"), load_file(tiny / "model.safetensors")
    factored = {layer.name for layer in result.layers if layer.rank is not None}
    for name, tensor in before.items():
        if name.removesuffix(".weight") in factored:
            assert name not in stored
        else:
            np.testing.assert_array_equal(stored[name], tensor)
    assert json.loads((folder / "config.json").read_text()) == json.loads((tiny / "config.json").read_text())
    assert (folder / "tokenizer.json").read_bytes() == (tiny / "tokenizer.json").read_bytes()


def test_the_manifest_says_what_was_found(halved):
    folder, result = halved
    manifest = json.loads((folder / "svd_compress.json").read_text())
    assert manifest["factored"] == {
        layer.name: {"rank": layer.rank, "form": result.form} for layer in result.layers if layer.rank
    }
    assert manifest["files"] == ["factored.safetensors"]
    assert manifest["perplexity_after"] == result.perplexity_after
    assert manifest["kept"] == result.kept


def test_a_loader_that_does_not_know_the_layout_fails(halved):
    folder, result = halved
    if result.form == "two":
        pytest.skip("one form is enough: transformers takes seconds to load")
    with pytest.raises(BadInput):
        load_model(folder)
    transformers = pytest.importorskip("transformers")
    with pytest.raises(OSError, match=r"model\.safetensors|no file named"):
        transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)


DAMAGES = ["lost", "renamed", "nan", "shape", "left over", "manifest", "layout", "pivots", "file"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused(halved, tmp_path, damage):
    folder, result = halved
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    tensors = load_file(copy / "factored.safetensors")
    name = next(layer.name for layer in result.layers if layer.rank)
    if damage == "lost":
        del tensors[f"{name}.left"]
    elif damage == "renamed":
        tensors[f"{name}.lefty"] = tensors.pop(f"{name}.left")
    elif damage == "nan":
        tensors[f"{name}.right"][0, 0] = np.nan
    elif damage == "shape":
        tensors[f"{name}.left"] = np.ascontiguousarray(tensors[f"{name}.left"][:, :-1])
    elif damage == "left over":
        tensors["model.layers.0.extra.weight"] = np.ones((2, 2), np.float32)
    elif damage == "pivots":
        if result.form == "two":
            pytest.skip("the form has no pivots")
        tensors[f"{name}.pivots"][0] = tensors[f"{name}.pivots"][1]
    elif damage == "file":
        manifest = json.loads((copy / "svd_compress.json").read_text())
        manifest["files"] = ["../factored.safetensors"]
        (copy / "svd_compress.json").write_text(json.dumps(manifest))
    elif damage == "manifest":
        (copy / "svd_compress.json").unlink()
    else:
        (copy / "svd_compress.json").write_text('{"layout": 99, "factored": {}}')
    save_file(tensors, copy / "factored.safetensors")
    with pytest.raises(BadInput) as error:
        load_compressed(copy)
    assert "\n" not in str(error.value)


def test_factored_layers_keep_their_bias():
    rng = torch.Generator().manual_seed(0)
    left, right, bias, x = (torch.randn(s, generator=rng) for s in [(6, 2), (2, 4), (6,), (3, 4)])
    layer = FactoredLinear(left, right, bias)
    torch.testing.assert_close(layer(x), x @ (left @ right).T + bias)
    assert layer.rank == 2
    compact = pivot(left, right)
    layer = PivotedLinear(compact.left.float(), compact.right.float(), compact.pivots, bias)
    torch.testing.assert_close(layer(x), x @ (left @ right).T + bias)
    assert layer.rank == 2


def test_one_token_takes_the_kernel_that_was_set_and_others_do_not():
    rng = torch.Generator().manual_seed(0)
    left, right, bias = (torch.randn(s, generator=rng) for s in [(6, 2), (2, 4), (6,)])
    compact = pivot(left, right)
    for layer in (
        FactoredLinear(left, right, bias),
        PivotedLinear(compact.left.float(), compact.right.float(), compact.pivots, bias),
    ):
        seen = []
        layer.one_token = lambda x, seen=seen: seen.append(x.shape) or left @ (right @ x)
        one, three = torch.randn(1, 1, 4, generator=rng), torch.randn(1, 3, 4, generator=rng)
        for x in (one, three):
            torch.testing.assert_close(layer(x), x @ (left @ right).T + bias)
        assert seen == [(4,)]
    with pytest.raises(BadInput, match="GPU"):
        fuse(layer)


def test_a_flat_spectrum_is_refused_and_nothing_written(writer, texts, tmp_path):
    flat = writer(tmp_path / "flat", decay=0.0)
    plain = {"layout": "two", "min_saving": 0.2}
    result = compress(flat, **texts, output=tmp_path / "out", max_ppl_rise=1e-4, **plain, **SMALL)
    assert not result.feasible
    assert result.kept == 1.0
    assert {layer.verdict for layer in result.layers} == {"leave dense"}
    assert "dense" in result.reason
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flat"]


def test_energy_keeps_at_least_what_was_asked(tiny, texts):
    result = compress(tiny, **texts, energy=0.9, **SMALL)
    more = compress(tiny, **texts, energy=0.99999, **SMALL)
    assert result.feasible
    assert result.output is None
    assert result.kept < more.kept
    assert abs(more.rise) < abs(result.rise)


def test_the_result_is_the_same_again(tiny, texts):
    one, two = (compress(tiny, **texts, keep=0.7, seed=3, **SMALL) for _ in range(2))
    assert one.to_dict() == two.to_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one"),
        ({"keep": 0.5, "energy": 0.5}, "exactly one"),
        ({"keep": 1.5}, "--keep"),
        ({"max_ppl_rise": 0.0}, "--max-ppl-rise"),
        ({"max_ppl_rise": math.inf}, "--max-ppl-rise"),
        ({"max_ppl_rise": math.nan}, "--max-ppl-rise"),
        ({"energy": -1.0}, "--energy"),
        ({"keep": 0.5, "multiple": 0}, "--multiple"),
        ({"keep": 0.5, "min_saving": 1.0}, "--min-saving"),
        ({"keep": 0.001}, "smallest allowed ranks"),
        ({"max_bytes": 1000}, "smallest allowed ranks the weights take"),
        ({"speed_up": 1.2}, "--faster-at"),
        ({"speed_up": 0.5, "faster_at": 1}, "--speed-up"),
        ({"keep": 0.5, "heal_minutes": -1.0}, "--heal"),
        ({"keep": 0.5, "faster_at": -1}, "--faster-at"),
        ({"keep": 0.5, "layout": "three"}, "--layout"),
        ({"keep": 0.5, "device": "toaster"}, "--device"),
        ({"keep": 0.5, "executor": "moon"}, "executor"),
        ({"keep": 0.5, "memory_bytes": 10}, "moments"),
        ({"keep": 0.5, "layer": "*nothing*"}, "no linear layer matches"),
        ({"keep": 0.5, "context": 100000}, "context"),
    ],
)
def test_bad_options(tiny, texts, options, message):
    with pytest.raises(BadInput, match=message):
        compress(tiny, **texts, **(SMALL | options))


def test_the_same_text_twice_is_refused(tiny, texts, tmp_path):
    same, link, copy = texts["calibration"], tmp_path / "link.txt", tmp_path / "copy.txt"
    link.symlink_to(same)
    shutil.copyfile(same, copy)
    part = tmp_path / "part.txt"
    part.write_text(same.read_text()[:900] + read_text(texts["evaluate"])[:900])
    for other, message in [(same, "both"), (link, "both"), (copy, "100%"), (part, "also stands")]:
        with pytest.raises(BadInput, match=message):
            compress(tiny, calibration=same, evaluate=other, keep=0.5)


def test_output_is_checked_before_the_work(texts, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for output in (tmp_path / "full", tmp_path / "full" / "file", tmp_path / "no" / "parent"):
        with pytest.raises(BadInput, match="cannot write"):
            compress("does-not-exist", **texts, output=output, keep=0.5)


def test_compressibility_bounds_every_verdict(tiny, texts):
    strict, loose = (
        compressibility(tiny, calibration=texts["calibration"], max_loss_rise=b, context=64, tokens=1024)
        for b in (1e-4, 0.05)
    )
    for a, b in zip(strict, loose, strict=True):
        assert a.rank is None or a.predicted_loss_rise <= 1e-4
        assert b.kept <= a.kept
        assert a.verdict == ("leave dense" if a.rank is None else f"compress to rank {a.rank}")
        assert a.rank is not None or a.kept == 1.0


def test_predicted_rises_are_right_on_the_trained_model(reference):
    """Each layer alone, on text that its factors did not see; off by less than three times, order kept."""
    names = [f"model.layers.{n}" for n in ("0.mlp.down_proj", "3.mlp.up_proj", "5.self_attn.v_proj")]
    model = load_model(reference)
    fit = spread_windows(model, reference_text("calibration"), context=256, max_tokens=4096)
    judge = spread_windows(model, reference_text("in-domain"), context=256, max_tokens=4096)
    prepared, before = prepare(model, fit, names), losses(model, judge).loss
    predicted, measured = [], []
    for name in names:
        layer, dense = prepared[name], model.linear_layers()[name]
        rank = 3 * layer.shape[0] * layer.shape[1] // (4 * sum(layer.shape))
        left, right = (f.float() for f in balanced(layer.factors, rank))
        model.replace_layer(name, FactoredLinear(left, right))
        predicted.append(layer.losses[rank])
        measured.append(losses(model, judge).loss - before)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, dense)
    assert np.argsort(predicted).tolist() == np.argsort(measured).tolist()
    for a, b in zip(predicted, measured, strict=True):
        assert 1 / 3 < a / b < 3


@pytest.mark.slow
def test_the_trained_model_under_a_budget_of_one_point(reference, tmp_path):
    texts = {"calibration": "reference:calibration", "evaluate": "reference:in-domain"}
    result = compress(reference, **texts, output=tmp_path / "out", max_ppl_rise=1.0, min_saving=0.2)
    assert result.feasible
    assert result.rise < result.rise_high < 1.0
    assert result.kept_compressed_layers <= 0.8
    assert result.bytes_after < result.bytes_before
    dense, small = load_model(reference), load_compressed(tmp_path / "out")
    unseen = reference_text("in-domain")
    before, after = (perplexity(model, unseen, context=256).perplexity for model in (dense, small))
    assert after - before == pytest.approx(result.rise, abs=1e-3)
