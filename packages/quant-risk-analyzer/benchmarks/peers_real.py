"""The tools themselves, not their formulas: NNCF, weightwatcher and Model Optimizer score a model's layers.

Run, in an environment of its own (these tools choose their own torch):
    uv venv peers && uv pip install -p peers/bin/python nncf weightwatcher nvidia-modelopt transformers \
        ./packages/mfi-command ./packages/stable-ops ./packages/checkpoint-lens ./packages/quant-risk-analyzer
    peers/bin/python peers_real.py MODEL NAME [--rows results/rank_rows.csv] [--output RESULT.json]

MODEL is "reference" or a folder that transformers can load, NAME the model's name in the rows. Scores are
judged by the measured KL in the rows: Spearman's rho with its interval by drawing layers anew, rho within
roles, recall of the worst tenth. Ours run beside them in the same process, from the same 32 texts, and
without any.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rank_rows import ROWS, loaded
from rank_study import FORMATS, LENGTH, TEXTS

from quant_risk_analyzer.agreement import bootstrap_interval, rank_agreement

Scores = dict[str, dict[str, float]]  # format, layer
RESULT = ROWS.with_name("peers_real.json")
TOOLS = ("nncf", "weightwatcher", "nvidia-modelopt", "torch", "transformers")
BITS = {"int4": 4, "int3": 3, "fp8_e4m3": (4, 3)}  # as Model Optimizer writes them


def modelopt_gradient(fresh: Callable[[], Any], texts: torch.Tensor) -> Scores:
    """`auto_quantize(method="gradient")`, each layer a group of its own, one format a call.

    In one call a worse format could not score better than the one before it: the tool takes the minimum.
    """
    import modelopt.torch.quantization as mtq
    from modelopt.torch.quantization.algorithms import AutoQuantizeGradientSearcher as Searcher

    Searcher.quant_grouping_rules, Searcher.score_module_rules = [], []
    found: Scores = {}
    for kind, bits in BITS.items():
        model = fresh()
        weights = {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": bits, "axis": 0}}
        names = ("*input_quantizer", "*output_quantizer")
        off = [{"quantizer_name": name, "enable": False} for name in names]
        _, state = mtq.auto_quantize(
            model,
            constraints={"effective_bits": 12.0},
            quantization_formats=[{"quant_cfg": [weights, *off], "algorithm": "max"}],
            data_loader=[text[None] for text in texts],
            forward_step=lambda model, ids: model(ids[:, :-1]).logits,
            loss_func=lambda logits, ids: torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), ids[:, 1:].flatten()
            ),
            num_calib_steps=1,
            num_score_steps=len(texts),
        )
        found[kind] = {}
        for each in state["candidate_stats"].values():
            (name,) = each["module_names"]
            found[kind][name] = max(each["scores"])  # the other choice is not to quantize: 0
    return found


def nncf_scores(fresh: Callable[[], Any], texts: torch.Tensor, metric: str) -> Scores:
    """What `compress_weights` ranks layers by for its mixed precision; the same for every format."""
    import nncf
    from nncf.quantization.algorithms.weight_compression import mixed_precision

    kept: dict[str, float] = {}
    criterion = mixed_precision.DataFreeCriterion
    original = criterion._calc_sensitivity

    def recording(self: Any, model: Any, graph: Any, weight_params: Any, points: Any = None) -> Any:
        scores = original(self, model, graph, weight_params, points)
        names = [each.weight_name.removesuffix(".weight") for each in weight_params]
        kept.update(dict(zip(names, map(float, scores), strict=True)))
        return scores

    criterion._calc_sensitivity = recording
    try:
        nncf.compress_weights(
            fresh(),
            mode=nncf.CompressWeightsMode.INT4_SYM,
            ratio=0.5,
            group_size=-1,
            sensitivity_metric=nncf.SensitivityMetric[metric],
            dataset=nncf.Dataset([{"input_ids": text[None, :-1]} for text in texts]),
            subset_size=len(texts),
        )
    finally:
        criterion._calc_sensitivity = original
    return dict.fromkeys(FORMATS, kept)


def weightwatcher_alpha(fresh: Callable[[], Any]) -> Scores:
    """Its exponent alpha of each layer; the same for every format."""
    import weightwatcher

    details = weightwatcher.WeightWatcher(model=fresh()).analyze()
    named = dict(zip(details["longname"], details["alpha"].astype(float), strict=True))
    return dict.fromkeys(FORMATS, named)


def ours(model: str, texts: torch.Tensor | None) -> Scores:
    """What `rate` estimates, on the texts or without any."""
    from checkpoint_lens import load_model
    from quant_risk_analyzer.formats import formats_named
    from quant_risk_analyzer.gauss_newton import score_products
    from quant_risk_analyzer.risk import errors_of
    from quant_risk_analyzer.sites import linear_sites
    from quant_risk_analyzer.texts import own_windows

    network = load_model(model)
    sites, kinds = linear_sites(network), formats_named(FORMATS)
    ids = own_windows(network, windows=64, length=64, seed=0, rounds=4) if texts is None else texts[:, :-1]
    found = score_products(
        network, ids, lambda name: errors_of(sites[name].weight, kinds, "channel"), sites, probes=4
    )
    return {
        kind: {name: float((found[name].scores[at] ** 2).mean()) for name in sites}
        for at, kind in enumerate(FORMATS)
    }


def judged(scores: Scores, row: dict[str, Any]) -> dict[str, Any]:
    """Agreement with the measured KL by format, over the layers that the tool scored."""
    roles = {layer["name"]: layer["role"] for layer in row["layers"]}
    found = {}
    for kind, values in scores.items():
        truth = {layer["name"]: layer["kl"][kind] for layer in row["layers"] if layer["name"] in values}
        known = {name: values[name] for name in truth}
        each = rank_agreement(known, truth, roles)
        low, high = bootstrap_interval(np.array([[known[name], truth[name]] for name in truth]))
        found[kind] = {
            "layers": len(truth),
            "overall": each.overall,
            "overall_low": low,
            "overall_high": high,
            "within role": each.within_role,
            "worst tenth found": each.top_decile_recall,
        }
    return found


def main() -> None:
    """Score, judge, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("name")
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    import transformers

    from checkpoint_lens import open_checkpoint, reference_text
    from checkpoint_lens.tokens import open_tokenizer

    folder = open_checkpoint(options.model).path
    (row,) = [each for each in loaded(options.rows) if each["model"] == options.name]
    ids = open_tokenizer(folder).encode(reference_text("calibration"))
    starts = np.linspace(0, len(ids) - LENGTH - 1, TEXTS).astype(int)
    texts = torch.tensor([ids[start : start + LENGTH + 1] for start in starts])

    def fresh() -> Any:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return model.eval()

    methods: dict[str, Callable[[], Scores]] = {
        "quant-risk-analyzer, 32 texts": lambda: ours(options.model, texts),
        "quant-risk-analyzer, no data": lambda: ours(options.model, None),
        "Model Optimizer, auto_quantize gradient": lambda: modelopt_gradient(fresh, texts),
        "NNCF, HESSIAN_INPUT_ACTIVATION": lambda: nncf_scores(fresh, texts, "HESSIAN_INPUT_ACTIVATION"),
        "NNCF, WEIGHT_QUANTIZATION_ERROR": lambda: nncf_scores(fresh, texts, "WEIGHT_QUANTIZATION_ERROR"),
        "weightwatcher, alpha": lambda: weightwatcher_alpha(fresh),
    }
    found: dict[str, Any] = {}
    for label, method in methods.items():
        started = time.perf_counter()
        scores = method()
        seconds = time.perf_counter() - started
        found[label] = {"seconds": seconds, "agreement": judged(scores, row), "scores": scores}
        print(label, f"{seconds:.1f} s", json.dumps(found[label]["agreement"]), flush=True)
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    known[options.name] = {
        "versions": {tool: version(tool) for tool in TOOLS},
        "device": f"CPU, {platform.machine()}, {torch.get_num_threads()} threads",
        "measured_on": row["device"],
        "date": time.strftime("%Y-%m-%d"),
        "command": f"peers_real.py {options.name}",
        "methods": found,
    }
    options.output.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
