"""Samples of the model against its own conditional distribution; windows of a text against slices."""

import pytest
import torch

from quant_risk_analyzer import texts
from quant_risk_analyzer.texts import own_windows, random_windows, text_windows


@pytest.mark.parametrize("floats", [1, 2**23])
def test_the_first_tokens_are_an_exact_sample(tiny, monkeypatch, floats):
    """After two rounds token 2 follows the model given tokens 0 and 1: its mean score is zero."""
    monkeypatch.setattr(texts, "FLOATS_AT_ONCE", floats)
    count = 3000 if floats > 1 else 300
    ids = own_windows(tiny, windows=count, length=6, seed=0, rounds=2)
    with torch.no_grad():
        probability = torch.softmax(tiny(ids), -1)
    for position in (1, 2):
        p = probability[:, position - 1]
        surprise = -torch.log(p.gather(1, ids[:, position, None])[:, 0])
        entropy = -(p * torch.log(p)).sum(1)
        error = (surprise - entropy).mean() / (surprise.std() / count**0.5)
        assert abs(float(error)) < 4.5


def test_rounds_bring_the_tokens_nearer_to_the_model(tiny):
    def surprise(rounds):
        ids = own_windows(tiny, windows=400, length=8, seed=1, rounds=rounds)
        with torch.no_grad():
            log_p = torch.log_softmax(tiny(ids), -1)
        return float(-log_p[:, :-1].gather(-1, ids[:, 1:, None]).mean())

    assert surprise(0) > surprise(1) + 0.05
    assert surprise(1) > surprise(8) - 0.05
    untouched = own_windows(tiny, windows=3, length=5, seed=2, rounds=0)
    assert torch.equal(untouched, random_windows(61, windows=3, length=5, seed=2))


def test_enough_rounds_reach_a_fixed_point(tiny):
    """Window of 8: after 7 rounds nothing changes any more."""
    ended = own_windows(tiny, windows=50, length=8, seed=3, rounds=7)
    assert torch.equal(ended, own_windows(tiny, windows=50, length=8, seed=3, rounds=9))
    assert not torch.equal(ended, own_windows(tiny, windows=50, length=8, seed=3, rounds=2))


def test_writing_one_by_one_ends_where_the_rounds_end(reference, monkeypatch):
    """The same uniform numbers: position by position gives the fixed point of the rounds."""
    written = own_windows(reference, windows=6, length=9, seed=4, rounds=1)
    monkeypatch.setattr(texts, "CACHED_AT_ONCE", 1)
    assert torch.equal(own_windows(reference, windows=6, length=9, seed=4, rounds=1), written)
    monkeypatch.setattr(type(reference), "next_logits", lambda *_: None)
    assert torch.equal(own_windows(reference, windows=6, length=9, seed=4, rounds=8), written)
    assert not torch.equal(own_windows(reference, windows=6, length=9, seed=4, rounds=2), written)


def test_windows_of_a_text_are_slices_spread_over_it(tiny):
    text = "".join(chr(65 + at % 50) for at in range(100))
    every = tiny.tokenizer.encode(text)
    found = text_windows(tiny, text, windows=3, length=9).tolist()
    assert found == [every[start : start + 9] for start in (0, 27, 63)]
    assert len(text_windows(tiny, text, windows=50, length=9)) == 11


def test_a_burn_in_is_left_out_and_a_cold_model_writes_what_is_most_likely(tiny):
    whole = own_windows(tiny, windows=4, length=8, seed=5, rounds=8, first=3)
    assert (whole[:, 0] == 3).all()
    kept = own_windows(tiny, windows=4, length=5, seed=5, rounds=8, burn_in=3, first=3)
    assert torch.equal(kept, whole[:, 3:])
    cold = own_windows(tiny, windows=4, length=8, seed=5, rounds=8, temperature=1e-4)
    with torch.no_grad():
        assert torch.equal(cold[:, 1:], tiny(cold).argmax(-1)[:, :-1])
