"""Bits by risk against uniform bits of the same bytes, mixes chosen blindly, and an oracle that measured.

Run: python allocation_study.py MODEL OUTPUT.json [--device cuda] [--name NAME] [--tokens 8192]
     python allocation_study.py FAMILY-WxB-sS OUTPUT.json --zoo TOKENS.npy     a model of zoo.py, trained here

The oracle allocates by the KL of each layer and format measured on the calibration text, one at a time. All
assignments are judged together, all layers quantized, on another text: KL from the full-precision model and
perplexity. Uniform bits take one format and a scale of 16 bits for 32 weights: 3.5 and 4.5 bits exactly; the
mixes take a scale for 128 weights and formats that fit the same bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zoo

from quant_risk_analyzer import FormatRisk, LayerRisk, RiskReport, Thresholds, allocate, measure
from quant_risk_analyzer.formats import formats_named
from quant_risk_analyzer.gauss_newton import score_products
from quant_risk_analyzer.models import device_of
from quant_risk_analyzer.risk import errors_of
from quant_risk_analyzer.sites import linear_sites
from quant_risk_analyzer.texts import own_windows, text_windows
from quant_risk_analyzer.together import measure_together

GROUP, UNIFORM_GROUP = 128, 32
BUDGETS = ((3.5, "int3", "int4"), (4.5, "int4", "int5"))
FORMATS = ("int2", "int3", "int4", "int5", "int6")
BLIND = 8


def with_risks(report: RiskReport, risks: dict[str, dict[str, float]]) -> RiskReport:
    """The report with other numbers as risks, by format and layer."""
    layers = tuple(
        dataclasses.replace(
            layer,
            formats={
                kind: dataclasses.replace(found, risk=risks[kind][layer.name])
                for kind, found in layer.formats.items()
            },
        )
        for layer in report.layers
    )
    return dataclasses.replace(report, layers=layers)


def risks_alone(model: Any, ids: torch.Tensor, probes: int = 4) -> RiskReport:
    """What `rate` estimates on these windows, without its facts about each weight."""
    sites, kinds = linear_sites(model), formats_named(FORMATS)
    found = score_products(
        model,
        ids.to(device_of(model)),
        lambda name: errors_of(sites[name].weight, kinds, GROUP),
        sites,
        probes=probes,
    )
    risks = {name: (each.scores**2).mean((1, 2)) / (2 * ids.shape[1]) for name, each in found.items()}
    layers = tuple(
        LayerRisk(
            site.name,
            site.shape,
            site.role,
            {
                kind: FormatRisk(float(risk), float(risk), float(risk), "", 0.0, 0.0, 0.0, False, ())
                for kind, risk in zip(FORMATS, risks[site.name], strict=True)
            },
        )
        for site in sites.values()
    )
    return RiskReport(layers, FORMATS, GROUP, "", "", ids.numel(), ids.shape[1], probes, 0, Thresholds(), {})


def blind_mix(report: RiskReport, bits: float, low: str, high: str, seed: int) -> dict[str, str]:
    """Random risks in place of the estimated ones, the same solver, the same constraint."""
    generator = np.random.default_rng(seed)
    scale = {layer.name: float(generator.uniform(0.5, 1.5)) for layer in report.layers}
    sizes = {layer.name: layer.shape[0] * layer.shape[1] for layer in report.layers}
    risks = {
        kind: {name: scale[name] * sizes[name] * 4.0 ** -int(kind.removeprefix("int")) for name in sizes}
        for kind in report.formats
    }
    return dict(allocate(with_risks(report, risks), average_bits=bits).assignment)


def studied(model: Any, tokens: int) -> dict[str, Any]:
    """Both budgets of one model."""
    from checkpoint_lens import reference_text

    seen, unseen = reference_text("calibration"), reference_text("in-domain")
    samples = own_windows(model, windows=128, length=64, seed=0, rounds=4)
    reports = {
        "by risk, own samples": risks_alone(model, samples),
        "by risk, 32 texts": risks_alone(model, text_windows(model, seen, windows=32, length=128)),
    }
    base = reports["by risk, 32 texts"]
    truth = measure(model, seen, formats=FORMATS, granularity=GROUP, max_tokens=tokens, context=256)
    reports["by measured KL (oracle)"] = with_risks(base, {kind: truth.kl(kind) for kind in FORMATS})
    found: dict[str, Any] = {}
    for bits, low, high in BUDGETS:
        plans = {name: allocate(report, average_bits=bits) for name, report in reports.items()}
        mixes = {f"blind mix {seed}": blind_mix(base, bits, low, high, seed) for seed in range(BLIND)}
        judged = {
            f"{low} everywhere, groups of {UNIFORM_GROUP}": measure_together(
                model,
                unseen,
                {layer.name: low for layer in base.layers},
                granularity=UNIFORM_GROUP,
                max_tokens=tokens,
            ),
            **{
                name: measure_together(model, unseen, plan.assignment, granularity=GROUP, max_tokens=tokens)
                for name, plan in plans.items()
            },
            **{
                name: measure_together(model, unseen, mix, granularity=GROUP, max_tokens=tokens)
                for name, mix in mixes.items()
            },
        }
        uniform, oracle = next(iter(judged.values())).kl, judged["by measured KL (oracle)"].kl
        found[f"{bits} bits"] = {
            "judged": {name: each.to_dict() for name, each in judged.items()},
            "plans": {
                name: {
                    "average_bits": plan.average_bits,
                    "predicted": plan.predicted_loss_increase,
                    "optimal": plan.optimal,
                    "layers": {kind: list(plan.assignment.values()).count(kind) for kind in FORMATS},
                }
                for name, plan in plans.items()
            },
            "gap_closed": {
                name: (uniform - judged[name].kl) / (uniform - oracle)
                for name in ("by risk, own samples", "by risk, 32 texts")
            },
        }
        print(bits, {name: (round(each.kl, 4), round(each.perplexity, 3)) for name, each in judged.items()})
        print(bits, found[f"{bits} bits"]["gap_closed"], flush=True)
    return found


def main() -> None:
    """Parse, study, write."""
    from checkpoint_lens import load_model

    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    started = time.perf_counter()
    if options.zoo:
        (recipe,) = [each for each in zoo.zoo(options.steps, options.batch) if each.name == options.model]
        model = zoo.wrapped(zoo.trained(recipe, np.load(options.zoo), options.device)[0])
    else:
        model = load_model(options.model).to(options.device)
    found = studied(model, options.tokens)
    machine = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    about = {"device": machine, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
    seconds = time.perf_counter() - started
    result = {"model": options.name or options.model, **about, "seconds": seconds, "budgets": found}
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
