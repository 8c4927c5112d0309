"""Products of heads against the whole matrices, which nobody would form for a real model."""

import numpy as np
import pytest

from checkpoint_lens import attention_spectra, load_model, open_checkpoint
from mfi_command import BadInput
from svd_compress.attention import effective_rank, head_products, product_energies


def test_energies_are_those_of_the_product():
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 5, 30))
    expected = np.linalg.svd(left.T @ right, compute_uv=False)[:5] ** 2
    np.testing.assert_allclose(product_energies(left, right), expected, rtol=1e-10)


def test_effective_rank_counts_equal_values():
    assert effective_rank(np.array([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3.0)
    assert effective_rank(np.array([1.0, 0.0])) == pytest.approx(1.0)
    assert effective_rank(np.zeros(3)) == 0.0
    assert 1.0 < effective_rank(np.array([1.0, 0.1])) < 2.0


def test_every_head_of_a_model(tiny, texts):
    text = texts["evaluate"].read_text()
    found = head_products(tiny, text=text, context=64)
    assert len(found) == 2 * 4 * 3
    checkpoint = open_checkpoint(tiny)
    W = {r: checkpoint[f"model.layers.1.self_attn.{r}_proj.weight"].astype(float) for r in "qkvo"}
    # Head 3 of four shares the second of two key-value heads, of width 12.
    qk = W["q"][36:48].T @ W["k"][12:24]
    vo = W["o"][:, 36:48] @ W["v"][12:24]
    for name, matrix in (("qk", qk), ("vo", vo)):
        (own,) = (i for i in found if (i.block, i.head, i.product) == (1, 3, name))
        energies = np.linalg.svd(matrix, compute_uv=False) ** 2
        assert own.top10_energy == pytest.approx(energies[:10].sum() / energies.sum())
        assert own.effective_rank == pytest.approx(effective_rank(energies), rel=1e-6)
        assert own.head_dim == 12
        assert own.low_rank == (own.top10_energy >= 0.9)
    scores = attention_spectra(load_model(tiny), text, context=64)
    mine = [item for item in found if item.product == "scores"]
    assert [i.top10_energy for i in mine] == pytest.approx([s.top10_energy for s in scores])


def test_weights_alone_need_no_text(tiny):
    assert {item.product for item in head_products(tiny)} == {"qk", "vo"}


def test_a_model_without_heads_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a.weight": np.ones((4, 4), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match="no attention"):
        head_products(tmp_path)
