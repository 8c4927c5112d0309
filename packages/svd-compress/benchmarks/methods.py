"""Ways to choose factors and ranks: the rise of the perplexity at equal size, without retraining.

Run from the root of the repository:

    uv run python packages/svd-compress/benchmarks/methods.py [MODEL] [--device cuda]

plain: SVD of the weights. inputs: whitened by the inputs. both: whitened by inputs and gradients, as
`compress` does. uniform: the same share of every layer. allocated: ranks chosen together, for `plain` and
`inputs` by energy normalised layer by layer. Prints Markdown, then how well the predicted rise of each layer
alone orders the measured one.
"""

import argparse
import math

import numpy as np
import torch
from scipy.stats import spearmanr

from checkpoint_lens import load_model, reference_text
from svd_compress.allocation import frontier, options, within
from svd_compress.evaluation import losses
from svd_compress.factored import FactoredLinear
from svd_compress.gradients import moments
from svd_compress.preparation import PreparedLayer, balanced, chosen_layers
from svd_compress.texts import spread_windows
from svd_compress.whitening import whitened_factors

KEEPS = (0.95, 0.9, 0.8, 0.6)


class Lab:
    """A model whose layers can be exchanged, and the texts to judge it on."""

    def __init__(self, name: str, device: str, tokens: int) -> None:
        self.model = load_model(name).to(device)
        self.layers = chosen_layers(self.model, "*")
        self.device = device
        found = {id(c): (p, a) for p in self.model.modules() for a, c in p.named_children()}
        self.places = {name: found[id(layer)] for name, layer in self.layers.items()}
        kinds = ("calibration", "in-domain", "out-of-domain")
        self.texts = {
            kind: spread_windows(self.model, reference_text(kind), context=256, max_tokens=tokens)
            for kind in kinds
        }
        self.fit = self.texts.pop("calibration")[:48]
        self.dense = {kind: losses(self.model, windows).loss for kind, windows in self.texts.items()}

    def prepared(self, method: str, seen: dict) -> dict[str, PreparedLayer]:
        out = {}
        for name, layer in self.layers.items():
            m, n = layer.weight.shape
            inputs = np.eye(n) if method == "plain" else seen[name].inputs
            gradients = seen[name].gradients if method == "both" else None
            factors = whitened_factors(layer.weight.cpu(), inputs, output_gram=gradients, floor=1e-6)
            tail = factors.tail() / 2
            out[name] = PreparedLayer((m, n), factors, tail if method == "both" else tail / tail[0])
        return out

    def rises(self, prepared: dict[str, PreparedLayer], ranks: dict) -> dict[str, float]:
        """Rise of the loss on each text."""
        try:
            for name, rank in ranks.items():
                if rank is not None:
                    pair = [torch.from_numpy(f).float() for f in balanced(prepared[name].factors, rank)]
                    setattr(*self.places[name], FactoredLinear(*pair).to(self.device))
            return {
                kind: losses(self.model, windows).loss - self.dense[kind]
                for kind, windows in self.texts.items()
            }
        finally:
            for name in ranks:
                setattr(*self.places[name], self.layers[name])


def uniform(prepared: dict[str, PreparedLayer], keep: float) -> dict[str, int]:
    return {name: int(keep * math.prod(x.shape) / sum(x.shape)) for name, x in prepared.items()}


def allocated(prepared: dict[str, PreparedLayer], keep: float) -> dict[str, int | None]:
    plans = frontier({name: options(x.shape, x.losses) for name, x in prepared.items()})
    return dict(within(plans, keep * plans[0].parameters).ranks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="reference")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", type=int, default=24576)
    arguments = parser.parse_args()
    lab = Lab(arguments.model, arguments.device, arguments.tokens)
    base = {kind: math.exp(loss) for kind, loss in lab.dense.items()}
    print("dense: " + ", ".join(f"{kind} {value:.2f}" for kind, value in base.items()) + "\n")
    print(
        "| factors | ranks | "
        + " | ".join(f"keep {k}" for k in KEEPS)
        + " |\n|---|---|"
        + "---|" * len(KEEPS)
    )
    seen = moments(lab.model, lab.fit, list(lab.layers))
    for method in ("plain", "inputs", "both"):
        prepared = lab.prepared(method, seen)
        for choose in (uniform, allocated):
            cells = []
            for keep in KEEPS:
                risen = lab.rises(prepared, choose(prepared, keep))
                cells.append(" / ".join(f"+{base[kind] * math.expm1(r):.2f}" for kind, r in risen.items()))
            print(f"| {method} | {choose.__name__} | " + " | ".join(cells) + " |", flush=True)
    alone = [
        (prepared[name].losses[rank], lab.rises(prepared, {name: rank})["in-domain"])
        for name, rank in ((name, max(8, uniform(prepared, 0.6)[name] // 8 * 8)) for name in prepared)
    ]
    predicted, measured = np.array(alone).T
    print(f"\none layer at a time, keep 0.6: Spearman {spearmanr(predicted, measured)[0]:.3f}, ", end="")
    print(f"median measured / predicted {np.median(measured / predicted):.2f}")


if __name__ == "__main__":
    main()
