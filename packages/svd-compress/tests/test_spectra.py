"""Ranks and shares against LAPACK's SVD of the stored weights."""

import numpy as np
import pytest

from checkpoint_lens import open_checkpoint
from mfi_command import BadInput
from svd_compress import spectrum


def by_lapack(W):
    energies = np.linalg.svd(np.asarray(W, np.float64), compute_uv=False) ** 2
    shares = np.cumsum(energies) / energies.sum()
    return [int(np.argmax(shares >= e)) + 1 for e in (0.9, 0.95, 0.99)], float(shares[:10][-1])


def test_against_lapack(tiny):
    checkpoint = open_checkpoint(tiny)
    spectra = spectrum(tiny)
    assert len(spectra) == 14
    for item in spectra:
        ranks, top = by_lapack(checkpoint[f"{item.name}.weight"])
        assert [item.rank_90, item.rank_95, item.rank_99] == ranks
        assert item.top10_energy == pytest.approx(top, abs=1e-12)
        m, n = item.shape
        assert item.break_even_rank == m * n // (m + n)
        assert item.decay[0] == 1
        assert (np.diff(item.decay) <= 0).all()


def test_the_reference_model_against_lapack(reference):
    checkpoint = open_checkpoint(reference)
    for item in spectrum(reference, layer="*.0.*"):
        ranks, top = by_lapack(checkpoint[f"{item.name}.weight"])
        assert [item.rank_90, item.rank_95, item.rank_99] == ranks
        assert item.top10_energy == pytest.approx(top, abs=1e-9)


def test_glob_and_progress(tiny):
    seen = []
    found = spectrum(tiny, layer="*q_proj", on_progress=lambda done, total: seen.append((done, total)))
    assert [item.name[-6:] for item in found] == ["q_proj"] * 2
    assert seen == [(1, 2), (2, 2)]
    with pytest.raises(BadInput, match="no linear layer matches"):
        spectrum(tiny, layer="*experts*")


def test_a_damaged_tensor_is_named(tmp_path, writer):
    def spoil(tensors):
        tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = np.nan

    folder = writer(tmp_path / "model", change=spoil)
    with pytest.raises(BadInput, match=r"layers\.1\.mlp\.up_proj.*NaN"):
        spectrum(folder)


def test_a_layer_of_zeros(tmp_path, writer):
    def clear(tensors):
        tensors["model.layers.0.mlp.up_proj.weight"][:] = 0

    item = spectrum(writer(tmp_path / "model", change=clear), layer="*.0.mlp.up_proj")[0]
    assert (item.rank_90, item.rank_99, item.top10_energy) == (0, 0, 1.0)
