"""Rank agreement of every score with the measured damage, one layer at a time, on many models.

Run: python rank_study.py zoo TOKENS.npy OUTPUT [--device cuda] [--workers 6]   trains the zoo and measures it
     python rank_study.py model MODEL OUTPUT [--device cuda] [--formats ...]    one model of yours

One JSON file a model: for each layer and format the measured KL and what each score says. `rank_tables.py`
turns them into the result that the manual shows.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import peers
import torch
import zoo
from ways import PROBES, WAYS, ids_of

from quant_risk_analyzer.truth import LayerDamage, Measurement, measure

FORMATS = ("int4", "int3", "fp8_e4m3")
TEXTS, LENGTH = 32, 128  # of the calibration: 32 texts of 128 tokens
READ = 8192  # tokens without data
USED = ("text", "own samples", "random tokens")  # by `rate`; the other ways with one seed only, or not at all
CONTEXT, MEASURED = 256, 8192  # of the truth, tokens of unseen text


def studied(
    model: Any,
    formats: tuple[str, ...],
    *,
    seeds: int,
    measured: int,
    tokens: int,
    few: bool = False,
    truth: Measurement | None = None,
) -> dict[str, Any]:
    """Truth and all scores of one model; the truth is measured unless it is given."""
    from checkpoint_lens import reference_text
    from quant_risk_analyzer.formats import format_named
    from quant_risk_analyzer.models import device_of
    from quant_risk_analyzer.risk import errors_of
    from quant_risk_analyzer.sites import linear_sites
    from quant_risk_analyzer.texts import text_windows

    where, sites, timing = device_of(model), linear_sites(model), {}
    kinds = [format_named(name) for name in formats]
    started = time.perf_counter()
    if truth is None:
        truth = measure(
            model, reference_text("in-domain"), formats=formats, max_tokens=measured, context=CONTEXT
        )
    timing["measure_s"] = time.perf_counter() - started
    print(f"measured in {timing['measure_s']:.1f} s", flush=True)
    errors = {name: errors_of(site.weight, kinds, "channel") for name, site in sites.items()}
    int8 = {
        name: errors_of(site.weight, [format_named("int8")], "channel")[0] for name, site in sites.items()
    }
    texts = text_windows(model, reference_text("calibration"), windows=TEXTS, length=LENGTH + 1).to(where)
    scores: dict[str, dict[str, dict[str, float]]] = {}

    def add(score: str, name: str, values: Any) -> None:
        for kind, value in zip(formats, values, strict=True):
            scores.setdefault(score, {}).setdefault(kind, {})[name] = float(value)

    started = time.perf_counter()
    for name, values in peers.data_scores(model, texts, sites, errors, int8).items():
        for score, each in values.items():
            add(score, name, each)
    for name, site in sites.items():
        for score, each in peers.weight_scores(site, errors[name], int8[name]).items():
            add(score, name, each)
    timing["peers_s"] = time.perf_counter() - started
    print(f"peers in {timing['peers_s']:.1f} s", flush=True)
    started = time.perf_counter()
    spread = {}
    for label, seed, samples in _sampled(model, sites, errors, texts[:, :-1], seeds, tokens, few):
        for name, found in samples.items():
            again = "" if seed == 0 else f" #{seed}"
            add(label + again, name, found.mean((1, 2)))
            logs = np.log(np.maximum(found.mean(2), np.finfo(float).tiny))
            add(f"{label}, geometric mean{again}", name, np.exp(logs.mean(1)))
            half = found[:, : found.shape[1] // 2]
            add(f"{label}, half of the tokens{again}", name, half.mean((1, 2)))
        if seed == 0:
            spread[label] = {name: _spread(found) for name, found in samples.items()}
    timing["scores_s"] = time.perf_counter() - started
    return {
        "formats": list(formats),
        "loss": truth.loss,
        "tokens": truth.tokens,
        "timing": timing,
        "layers": [
            {
                "name": site.name,
                "role": site.role,
                "shape": list(site.shape),
                "kl": {each.format: each.kl for each in truth.layers if each.name == site.name},
                "kl_stderr": {each.format: each.kl_stderr for each in truth.layers if each.name == site.name},
                "loss_increase": {
                    each.format: each.loss_increase for each in truth.layers if each.name == site.name
                },
                "scores": {
                    label: {kind: scores[label][kind][site.name] for kind in formats} for label in scores
                },
                "relative_spread": {label: spread[label][site.name] for label in spread},
            }
            for site in sites.values()
        ],
    }


def _sampled(
    model: Any, sites: Any, errors: Any, texts: torch.Tensor, seeds: int, tokens: int, few: bool
) -> Any:
    """Gauss-Newton samples (formats, windows, probes) of the texts and of each way without any, by seed."""
    from quant_risk_analyzer.gauss_newton import score_products

    for seed in range(seeds):
        for label, way in {"text": None, **WAYS}.items():
            if (seed or few) and label not in USED:
                continue
            started = time.perf_counter()
            ids = texts if way is None else ids_of(model, way, tokens=tokens, seed=seed)
            drawn = time.perf_counter()
            found = score_products(
                model, ids.to(texts.device), errors.__getitem__, sites, probes=PROBES, seed=seed
            )
            scored = time.perf_counter()
            print(f"{label}: drawn in {drawn - started:.1f} s, scored in {scored - drawn:.1f} s", flush=True)
            length = ids.shape[1]
            yield label, seed, {name: each.scores**2 / (2 * length) for name, each in found.items()}


def _spread(samples: np.ndarray[Any, Any]) -> list[float]:
    """Standard error of the mean over the windows, relative to the mean, by format."""
    windows = samples.mean(2)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread: list[float] = (windows.std(1, ddof=1) / windows.shape[1] ** 0.5 / windows.mean(1)).tolist()
    return spread


def study_recipe(recipe: zoo.Recipe, options: argparse.Namespace) -> None:
    """Train one model of the zoo, study it, write its file."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    network, loss = zoo.trained(recipe, np.load(options.tokens), options.device)
    seconds = time.perf_counter() - started
    found = {
        "model": recipe.name,
        "family": recipe.family,
        "recipe": {**recipe.__dict__},
        "training_loss": loss,
        "training_s": seconds,
        **studied(
            zoo.wrapped(network),
            tuple(options.formats.split(",")),
            seeds=options.seeds,
            measured=options.measured,
            tokens=options.tokens_read,
            few=options.few,
        ),
    }
    _write(found, options.output / f"{recipe.name}.json", options.device)
    print(
        f"{recipe.name}: trained {seconds:.1f} s to {loss:.3f}, loss {found['loss']:.3f}, "
        f"{len(found['layers'])} layers, {found['timing']}",
        flush=True,
    )


def _write(found: dict[str, Any], path: Path, device: str) -> None:
    machine = torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"
    about = {"device": machine, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
    path.write_text(json.dumps({**about, **found}))


def study_zoo(options: argparse.Namespace) -> None:
    """All recipes, several at a time: one small model leaves most of a GPU idle."""
    import multiprocessing

    recipes = zoo.zoo(options.steps, options.batch)[options.first :][: options.models]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        jobs = [
            pool.apply_async(study_recipe, (each, argparse.Namespace(**{**vars(options), "call": None})))
            for each in recipes
        ]
        for recipe, job in zip(recipes, jobs, strict=True):
            try:
                job.get()
            except Exception as error:
                print(f"{recipe.name}: FAILED {type(error).__name__}: {error}", flush=True)


def joined_truth(path: Path) -> Measurement:
    """What truth_rows.py measured in parts, as one: the standard errors are from what the parts differ by."""
    parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
    layers = []
    for name, formats in parts[0]["layers"].items():
        for kind in formats:
            kl, _, rise = np.array([part["layers"][name][kind] for part in parts]).T
            noise = [float(values.std(ddof=1)) / len(parts) ** 0.5 for values in (rise, kl)]
            figures = (float(rise.mean()), noise[0], float(kl.mean()), noise[1])
            layers.append(LayerDamage(name, (0, 0), "", kind, *figures))
    loss = float(np.mean([part["loss"] for part in parts]))
    return Measurement(sum(part["tokens"] for part in parts), loss, tuple(layers))


def study_model(options: argparse.Namespace) -> None:
    """One model that exists."""
    from checkpoint_lens import load_model

    started = time.perf_counter()
    network = load_model(options.model).to(options.device)
    print(f"loaded in {time.perf_counter() - started:.1f} s", flush=True)
    found = studied(
        network,
        tuple(options.formats.split(",")),
        seeds=options.seeds,
        measured=options.measured,
        tokens=options.tokens_read,
        few=options.few,
        truth=joined_truth(options.truth) if options.truth else None,
    )
    name = options.name or Path(options.model).stem
    _write({"model": name, "family": name, **found}, options.output / f"{name}.json", options.device)
    print(f"{name}: loss {found['loss']:.3f}, {found['timing']}", flush=True)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser()
    kinds = parser.add_subparsers(required=True)
    many, one = kinds.add_parser("zoo"), kinds.add_parser("model")
    many.add_argument("tokens", type=Path)
    one.add_argument("model")
    for each in (many, one):
        each.add_argument("output", type=Path)
        each.add_argument("--device", default="cpu")
        each.add_argument("--formats", default=",".join(FORMATS))
        each.add_argument("--seeds", type=int, default=3)
        each.add_argument("--measured", type=int, default=MEASURED)
        each.add_argument("--tokens-read", type=int, default=READ)
        each.add_argument("--few", action="store_true", help="Leave out the ways that rate does not use.")
    many.add_argument("--workers", type=int, default=6)
    many.add_argument("--models", type=int, default=None)
    many.add_argument("--first", type=int, default=0)
    many.add_argument("--steps", type=int, default=1200)
    many.add_argument("--batch", type=int, default=32)
    many.set_defaults(call=study_zoo)
    one.add_argument("--name")
    one.add_argument("--truth", type=Path, help="Output of truth_rows.py: measure nothing again.")
    one.set_defaults(call=study_model)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    options.call(options)


if __name__ == "__main__":
    main()
