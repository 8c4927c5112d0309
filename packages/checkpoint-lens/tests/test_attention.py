"""Spectra of Q K^T against the whole score matrix in float64."""

import numpy as np
import pytest

from checkpoint_lens import attention_inputs, attention_spectra, load_model

torch = pytest.importorskip("torch")


def test_singular_values_are_those_of_the_scores(write_llama, text):
    model = load_model(write_llama(num_attention_heads=4, num_key_value_heads=2, head_dim=16))
    found = attention_spectra(model, text, context=90)
    assert [(x.block, x.head) for x in found] == [(block, head) for block in (0, 1) for head in range(4)]
    inputs = attention_inputs(model, text, context=90)
    for spectrum in found:
        queries, keys = inputs[spectrum.block]
        scores = queries[spectrum.head] @ np.repeat(keys, 2, axis=0)[spectrum.head].T / np.sqrt(16)
        assert scores.shape == (90, 90)
        wanted = np.linalg.svd(scores, compute_uv=False)
        np.testing.assert_allclose(spectrum.singular_values, wanted[:16], rtol=1e-9)
        energy = wanted**2 / (wanted**2).sum()
        assert spectrum.top10_energy == pytest.approx(energy[:10].sum(), rel=1e-12)
        assert energy[: spectrum.rank_90].sum() >= 0.9 > energy[: spectrum.rank_90 - 1].sum()
        assert spectrum.low_rank == (energy[:10].sum() >= 0.9)


def test_scores_are_those_that_the_model_attends_with(write_llama, text):
    """The values mixed by softmax of these scores are what the next layer gets."""
    model = load_model(write_llama(num_attention_heads=4, num_key_value_heads=2))
    queries, keys = (torch.from_numpy(x) for x in attention_inputs(model, text, context=30)[0])
    block = model.model.layers[0]
    seen = {}
    block.self_attn.v_proj.register_forward_hook(lambda _, x, y: seen.update(values=y[0].double()))
    block.self_attn.o_proj.register_forward_hook(lambda _, x, y: seen.update(mixed=x[0][0].double()))
    model(torch.tensor([model.tokenizer.encode(text)[:30]]))
    # As in transformers: key-value head i serves the query heads 2 i and 2 i + 1.
    keys, values = (x.repeat_interleave(2, 0) for x in (keys, seen["values"].view(30, 2, 8).transpose(0, 1)))
    scores = queries @ keys.mT / 8**0.5 + torch.full((30, 30), -torch.inf).triu(1)
    mixed = scores.softmax(-1) @ values
    torch.testing.assert_close(mixed.transpose(0, 1).reshape(30, 32), seen["mixed"], rtol=0, atol=1e-5)
