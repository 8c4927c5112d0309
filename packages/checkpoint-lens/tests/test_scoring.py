"""Perplexity against the definition written out, in float64."""

import json
import math

import numpy as np
import pytest

from checkpoint_lens import load_model, perplexity
from mfi_command import BadInput

torch = pytest.importorskip("torch")


def by_definition(model, text, context, limit=None):
    """Loss per judged token, the judged text's bytes, and the mean loss and size of each window."""
    ids = model.tokenizer.encode(text)[:limit]
    losses, judged_bytes, windows = [], 0, []
    for start in range(0, len(ids), context):
        part = ids[start : start + context]
        here = []
        for place in range(1, len(part)):
            logits = model(torch.tensor([part[:place]]))[0, -1].double().numpy()
            peak = logits.max()
            here.append(peak + np.log(np.exp(logits - peak).sum()) - logits[part[place]])
        judged_bytes += len(model.tokenizer.decode(part[1:]).encode())
        losses += here
        if here:
            windows.append(here)
    return np.array(losses), judged_bytes, windows


@pytest.fixture
def model(write_llama):
    return load_model(write_llama())


ASCII = "The old men talked about the flood, and the children threw sticks into the river. " * 3


@pytest.mark.parametrize(("context", "limit"), [(16, None), (20, 50), (64, 17), (512, None)])
def test_equals_the_definition(model, context, limit):
    losses, judged_bytes, windows = by_definition(model, ASCII, context, limit)
    found = perplexity(model, ASCII, context=context, max_tokens=limit)
    assert found.tokens == len(losses)
    assert found.loss == pytest.approx(losses.mean(), rel=1e-6)
    assert found.perplexity == pytest.approx(math.exp(losses.mean()), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(losses.sum() / math.log(2) / judged_bytes, rel=1e-6)
    if len(windows) > 1:
        residuals = [sum(part) - losses.mean() * len(part) for part in windows]
        error = np.std(residuals, ddof=0) * math.sqrt(len(windows) / (len(windows) - 1) * len(windows))
        assert found.loss_stderr == pytest.approx(error / len(losses), rel=1e-3)
    else:
        assert math.isnan(found.loss_stderr)


def test_standard_error_of_equal_windows_is_the_textbook_one(model):
    ids = model.tokenizer.encode(ASCII * 4)
    count = len(ids) // 16
    means = [np.mean(part) for part in by_definition(model, ASCII * 4, 16, count * 16)[2]]
    found = perplexity(model, ASCII * 4, context=16, max_tokens=count * 16)
    assert found.loss_stderr == pytest.approx(np.std(means, ddof=1) / math.sqrt(count), rel=1e-4)


def test_a_model_that_knows_nothing_pays_the_logarithm_of_its_vocabulary(write_llama, text):
    def blank(weights):
        weights["model.norm.weight"][:] = 0

    found = perplexity(load_model(write_llama(change=blank)), text)
    assert found.perplexity == pytest.approx(400, rel=1e-6)


def test_begin_of_text_lets_every_token_be_judged(write_llama, tokenizer):
    from tokenizers import Tokenizer, processors

    folder = write_llama()
    inner = Tokenizer.from_str(tokenizer.to_str())
    inner.post_processor = processors.TemplateProcessing(
        single="! $A", special_tokens=[("!", inner.token_to_id("!"))]
    )
    inner.save(str(folder / "tokenizer.json"))
    model = load_model(folder)
    ids = model.tokenizer.encode(ASCII)
    found = perplexity(model, ASCII, context=11)
    assert found.tokens == len(ids)
    begin = inner.token_to_id("!")
    total = 0.0
    for start in range(0, len(ids), 10):
        part = torch.tensor([[begin, *ids[start : start + 10]]])
        total += float(
            torch.nn.functional.cross_entropy(model(part)[0, :-1].double(), part[0, 1:], reduction="sum")
        )
    assert found.loss == pytest.approx(total / len(ids), rel=1e-6)
    assert found.bits_per_byte == pytest.approx(total / math.log(2) / len(ASCII), rel=1e-6)


def test_progress_counts_windows(model):
    seen = []
    perplexity(model, ASCII, context=20, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))]
    assert len(seen) > 2


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("", {}, "empty"),
        (" \n ", {}, "empty"),
        ("a", {}, "1 token long"),
        (ASCII, {"context": 1}, "too short"),
        (ASCII, {"context": 513}, "over the 512 positions"),
        (ASCII, {"max_tokens": 1}, "too small"),
    ],
)
def test_bad_text_and_options(model, text, options, says):
    with pytest.raises(BadInput, match=says):
        perplexity(model, text, **options)


def test_a_tokenizer_of_another_model(write_llama):
    folder = write_llama(vocab_size=300)
    with pytest.raises(BadInput, match="do not belong together"):
        perplexity(load_model(folder), ASCII)


def test_an_overflow_is_reported_not_returned(write_llama):
    def huge(weights):
        weights["model.norm.weight"][:] = 3e38

    with pytest.raises(BadInput, match="not finite"):
        perplexity(load_model(write_llama(change=huge)), ASCII)


def test_plain_data(model):
    found = perplexity(model, ASCII)
    assert json.loads(json.dumps(found.to_dict()))["tokens"] == found.tokens
