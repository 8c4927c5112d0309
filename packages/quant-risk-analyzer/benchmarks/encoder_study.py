"""Rank agreement on a sentence encoder, whose damage is the change of whom it finds similar.

Run: python encoder_study.py FOLDER OUTPUT      (FOLDER: a BERT-like encoder in Hugging Face's layout)

An encoder has no next token, and writes nothing: its "own samples" are what the language model that comes
with checkpoint-lens writes. Its output distribution here is the softmax over the similarities to a bank of
other sentences at the temperature of its training: risk and damage are nats per sentence. The file has the
form of rank_study.py's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import peers
import torch
from rank_study import FORMATS, _write

LENGTH, TEXTS, DRAWN, JUDGED, BANK = 32, 32, 128, 64, 256
WRITES = 64  # tokens that the bundled model writes at a time
PROBES = 32  # a window has one output: many draws
TEMPERATURE = 0.05  # of the contrastive loss of all-MiniLM


class Encoder(torch.nn.Module):
    """Token ids (b, length) to logits (b, 1, bank): cosine similarities over the temperature."""

    def __init__(self, inner: Any, bank: torch.Tensor | None = None) -> None:
        super().__init__()
        self.inner, self.bank = inner, bank
        self.vocab_size = inner.config.vocab_size

    def embedding(self, ids: torch.Tensor) -> torch.Tensor:
        """Mean of the last hidden states, of length 1: (b, width)."""
        hidden = self.inner(input_ids=ids).last_hidden_state
        return torch.nn.functional.normalize(hidden.mean(1), dim=-1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        assert self.bank is not None
        return (self.embedding(ids) @ self.bank.T / TEMPERATURE)[:, None]

    def linear_layers(self) -> dict[str, torch.nn.Linear]:
        """Those of the encoder's blocks."""
        return {name: each for name, each in self.inner.named_modules() if isinstance(each, torch.nn.Linear)}


def sentences(tokenizer: Any, text: str, count: int) -> torch.Tensor:
    """Windows of the text between the encoder's first and last token: (count, LENGTH)."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    size = LENGTH - 2
    starts = np.linspace(0, len(ids) - size, count).astype(int)
    return torch.tensor([[first, *ids[start : start + size], last] for start in starts])


def written(tokens: int, seed: int) -> str:
    """Text of the language model that comes with checkpoint-lens, as many tokens of its own, in windows."""
    from checkpoint_lens import reference_model
    from quant_risk_analyzer.texts import own_windows

    model = reference_model()
    ids = own_windows(model, windows=tokens // WRITES, length=WRITES, seed=seed, rounds=1)
    return "\n".join(model.tokenizer.decode(window) for window in ids.tolist())


def damages(
    model: Encoder, ids: torch.Tensor, sites: Any, kinds: Any
) -> dict[str, dict[str, tuple[float, float]]]:
    """KL by layer and format, nats per sentence, and its standard error."""
    from quant_risk_analyzer.quantizers import rounded

    with torch.no_grad():
        before = torch.log_softmax(model(ids).double(), -1)
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for name, site in sites.items():
            for kind in kinds:
                with site.holding(rounded(site.weight, kind, "channel")):
                    after = torch.log_softmax(model(ids).double(), -1)
                kl = (before.exp() * (before - after)).sum(-1).mean(1)
                found.setdefault(name, {})[kind.name] = (float(kl.mean()), float(kl.std() / len(kl) ** 0.5))
            print(name, found[name], flush=True)
    return found


def studied(folder: Path, known: dict[str, Any] | None, kept: Path) -> dict[str, Any]:
    """Truth and scores; the truth of an earlier run where one is given, finished scores from `kept`."""
    import tokenizers
    import transformers

    from checkpoint_lens import reference_text
    from quant_risk_analyzer.formats import format_named
    from quant_risk_analyzer.gauss_newton import score_products
    from quant_risk_analyzer.risk import errors_of
    from quant_risk_analyzer.sites import linear_sites
    from quant_risk_analyzer.texts import random_windows

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    inner = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True)
    model = Encoder(inner.eval().requires_grad_(False))
    sites, kinds = linear_sites(model), [format_named(name) for name in FORMATS]
    errors = {name: errors_of(site.weight, kinds, "channel") for name, site in sites.items()}
    scores: dict[str, dict[str, list[float]]] = {}
    out_of_domain = sentences(tokenizer, reference_text("out-of-domain"), BANK)
    inputs = {  # and the bank of each: without data that is drawn likewise
        "random tokens": [
            random_windows(model.vocab_size, windows=count, length=LENGTH, seed=seed)
            for seed, count in enumerate((DRAWN, BANK))
        ],
        "own samples": [
            sentences(tokenizer, written(count * LENGTH, seed), count)
            for seed, count in enumerate((DRAWN, BANK))
        ],
        "text": [sentences(tokenizer, reference_text("calibration"), TEXTS), out_of_domain],
    }
    done = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for label, (ids, bank) in inputs.items():
        if label not in done:
            with torch.no_grad():
                model.bank = model.embedding(bank)
            products = score_products(model, ids, errors.__getitem__, sites, probes=PROBES)
            found = {name: ((each.scores**2).mean((1, 2)) / 2).tolist() for name, each in products.items()}
            done[label] = found
            kept.write_text(json.dumps(done), encoding="utf-8")
        for name, values in done[label].items():
            scores.setdefault(name, {})[label] = values
    for name, site in sites.items():
        int8 = errors_of(site.weight, [format_named("int8")], "channel")[0]
        scores[name] |= peers.weight_scores(site, errors[name], int8)
    if known is not None:
        truth = {
            layer["name"]: {kind: (layer["kl"][kind], layer["kl_stderr"][kind]) for kind in FORMATS}
            for layer in known["layers"]
        }
    else:
        with torch.no_grad():
            model.bank = model.embedding(out_of_domain)
        truth = damages(model, sentences(tokenizer, reference_text("in-domain"), JUDGED), sites, kinds)
    return {
        "formats": list(FORMATS),
        "loss": None,
        "tokens": JUDGED * LENGTH,
        "layers": [
            {
                "name": name,
                "role": site.role,
                "shape": list(site.shape),
                "kl": {kind: truth[name][kind][0] for kind in FORMATS},
                "kl_stderr": {kind: truth[name][kind][1] for kind in FORMATS},
                "scores": {
                    score: dict(zip(FORMATS, values, strict=True)) for score, values in scores[name].items()
                },
            }
            for name, site in sites.items()
        ],
    }


def main() -> None:
    """Parse, study, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--truth", type=Path, help="File of an earlier run: measure nothing again.")
    options = parser.parse_args()
    name = "all-MiniLM-L6-v2"
    known = json.loads(options.truth.read_text(encoding="utf-8")) if options.truth else None
    _write(
        {"model": name, "family": name, **studied(options.folder, known, options.output / f"{name}.scores")},
        options.output / f"{name}.json",
        "cpu",
    )


if __name__ == "__main__":
    main()
