"""Bits by risk against uniform bits of the same bytes, mixes chosen blindly, and an oracle that measured.

Run: python allocation_study.py MODEL OUTPUT.json [--device cuda] [--name NAME]
          [--tokens 8192] [--judged 8192] [--workers N]
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
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zoo

from quant_risk_analyzer import FormatRisk, LayerRisk, RiskReport, Thresholds, allocate, measure
from quant_risk_analyzer.confidence import place_factors
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
ORACLE = "by measured KL (oracle)"


@dataclasses.dataclass(frozen=True)
class Setting:
    """How much is measured: tokens of the oracle, of the judgement and of own samples, blind mixes."""

    formats: tuple[str, ...]
    tokens: int
    judged: int
    read: int
    blind: int
    workers: int
    path: str


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


def risks_alone(
    model: Any, ids: torch.Tensor, tier: str, formats: tuple[str, ...], probes: int = 4
) -> RiskReport:
    """What `rate` estimates on these windows, without its facts about each weight."""
    sites, kinds = linear_sites(model), formats_named(formats)
    found = score_products(
        model,
        ids.to(device_of(model)),
        lambda name: errors_of(sites[name].weight, kinds, GROUP),
        sites,
        probes=probes,
    )
    factors = place_factors(list(sites), tier)
    risks = {
        name: factors[name] * (each.scores**2).mean((1, 2)) / (2 * ids.shape[1])
        for name, each in found.items()
    }
    layers = tuple(
        LayerRisk(
            site.name,
            site.shape,
            site.role,
            {
                kind: FormatRisk(float(risk), float(risk), float(risk), "", 0.0, 0.0, 0.0, False, ())
                for kind, risk in zip(formats, risks[site.name], strict=True)
            },
        )
        for site in sites.values()
    )
    return RiskReport(layers, formats, GROUP, "", "", ids.numel(), ids.shape[1], probes, 0, Thresholds(), {})


def measured(
    model: Any, tokens: int, formats: tuple[str, ...], layers: list[str], alone: bool
) -> dict[str, dict[str, float]]:
    """KL by format and layer on the calibration text; with `alone` in a process of its own, from a path."""
    from checkpoint_lens import load_model, reference_text

    if alone:
        torch.set_num_threads(1)
        model = load_model(model)
    text = reference_text("calibration")
    found = measure(
        model, text, formats=formats, granularity=GROUP, layers=layers, max_tokens=tokens, context=256
    )
    return {kind: found.kl(kind) for kind in formats}


def measured_by_many(model: Any, names: list[str], setting: Setting) -> dict[str, dict[str, float]]:
    """`measured` in several processes, each with every so-many-th layer: the first ones cost the most."""
    if setting.workers == 1:
        return measured(model, setting.tokens, setting.formats, names, False)
    work = [
        (setting.path, setting.tokens, setting.formats, names[start :: setting.workers], True)
        for start in range(setting.workers)
    ]
    with multiprocessing.get_context("spawn").Pool(setting.workers) as pool:
        found = pool.starmap(measured, work)
    return {kind: {name: kl for part in found for name, kl in part[kind].items()} for kind in setting.formats}


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


def reports_of(model: Any, setting: Setting) -> dict[str, RiskReport]:
    """By estimated risk, without data and with texts, and by the oracle's measured KL."""
    from checkpoint_lens import reference_text

    texts = text_windows(model, reference_text("calibration"), windows=32, length=128)
    samples = own_windows(model, windows=setting.read // 64, length=64, seed=0, rounds=4)
    base = risks_alone(model, texts, "calibration text", setting.formats)
    names = [layer.name for layer in base.layers]
    print("risks of the texts", flush=True)
    own = risks_alone(model, samples, "own samples", setting.formats)
    print("risks of own samples", flush=True)
    oracle = with_risks(base, measured_by_many(model, names, setting))
    print("oracle measured", flush=True)
    return {"by risk, own samples": own, "by risk, 32 texts": base, ORACLE: oracle}


def judged(model: Any, reports: dict[str, RiskReport], setting: Setting, budget: Any) -> dict[str, Any]:
    """One budget: what every assignment does, all layers quantized."""
    from checkpoint_lens import reference_text

    bits, low, high = budget
    base = reports["by risk, 32 texts"]
    plans = {name: allocate(report, average_bits=bits) for name, report in reports.items()}
    uniform = f"{low} everywhere, groups of {UNIFORM_GROUP}"
    assignments = {
        uniform: dict.fromkeys((layer.name for layer in base.layers), low),
        **{name: plan.assignment for name, plan in plans.items()},
        **{f"blind mix {seed}": blind_mix(base, bits, low, high, seed) for seed in range(setting.blind)},
    }
    found = {
        name: measure_together(
            model,
            reference_text("in-domain"),
            assignment,
            granularity=UNIFORM_GROUP if name == uniform else GROUP,
            max_tokens=setting.judged,
        )
        for name, assignment in assignments.items()
    }
    gap = found[uniform].kl - found[ORACLE].kl
    closed = {name: (found[uniform].kl - found[name].kl) / gap for name in reports if name != ORACLE}
    print(bits, {name: (round(each.kl, 4), round(each.perplexity, 3)) for name, each in found.items()})
    print(bits, closed, flush=True)
    return {
        "judged": {name: each.to_dict() for name, each in found.items()},
        "plans": {
            name: {
                "average_bits": plan.average_bits,
                "predicted": plan.predicted_loss_increase,
                "optimal": plan.optimal,
                "layers": {kind: list(plan.assignment.values()).count(kind) for kind in setting.formats},
            }
            for name, plan in plans.items()
        },
        "gap_closed": closed,
    }


def main() -> None:
    """Parse, study, write after each budget."""
    from checkpoint_lens import load_model

    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--zoo", type=Path)
    numbers = {"tokens": 8192, "judged": 8192, "read": 8192, "blind": 8, "workers": 1}
    for name, value in {**numbers, "steps": 450, "batch": 64}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    started = time.perf_counter()
    if options.zoo:
        (recipe,) = [each for each in zoo.zoo(options.steps, options.batch) if each.name == options.model]
        model = zoo.wrapped(zoo.trained(recipe, np.load(options.zoo), options.device)[0])
    else:
        model = load_model(options.model).to(options.device)
    amounts = {name: getattr(options, name) for name in numbers}
    setting = Setting(formats=tuple(options.formats.split(",")), path=options.model, **amounts)
    reports = reports_of(model, setting)
    machine = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    budgets: dict[str, Any] = {}
    for budget in BUDGETS:
        budgets[f"{budget[0]} bits"] = judged(model, reports, setting, budget)
        result = {
            "model": options.name or options.model,
            "device": machine,
            "torch": torch.__version__,
            "date": time.strftime("%Y-%m-%d"),
            "command": "allocation_study.py MODEL OUTPUT.json "
            + " ".join(f"--{name} {value}" for name, value in amounts.items()),
            "formats": setting.formats,
            "seconds": time.perf_counter() - started,
            "budgets": budgets,
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
