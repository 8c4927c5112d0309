"""Our quantizers against the libraries' own, number by number, on random heavy-tailed weights.

Run with the python of an environment that has some of bitsandbytes, torchao, compressed-tensors, gguf, with
this package on its path; results of libraries that are absent stay as they are:

    PYTHONPATH=packages/quant-risk-analyzer/src:packages/checkpoint-lens/src:packages/stable-ops/src:\
packages/mfi-command/src  PYTHON  packages/quant-risk-analyzer/benchmarks/quantizer_peers.py OUTPUT.json
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from quant_risk_analyzer.quantizers import quantize

ROWS, COLUMNS, DRAWS = 64, 512, 8


def draw(seed: int) -> torch.Tensor:
    W = np.random.default_rng(seed).standard_t(4, (ROWS, COLUMNS)).astype(np.float32)
    return torch.from_numpy(W)


def different(theirs: torch.Tensor, ours: torch.Tensor) -> int:
    return int((theirs.float() != ours.float()).sum())


def bitsandbytes(W: torch.Tensor) -> dict[str, int]:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    found = {}
    # Its fp4 differs by design: another smallest level than e2m1.
    for kind, format in (("nf4", "nf4"), ("fp4", "fp4_e2m1")):
        for block in (64, 128):
            packed, state = quantize_4bit(W, blocksize=block, quant_type=kind)
            ours = quantize(W, format, granularity=block).dequantized
            found[f"{kind} block {block}"] = different(dequantize_4bit(packed, state), ours)
    return found


def torchao(W: torch.Tensor) -> dict[str, int]:
    from torchao.quantization.quant_primitives import dequantize_affine, quantize_affine

    found = {}
    for bits in (8, 4):
        for group in (32, 128):
            ours = quantize(W, f"int{bits}", granularity=group)
            zeros = torch.zeros_like(ours.scales, dtype=torch.int32)
            span = (torch.int8, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            codes = quantize_affine(W, (1, group), ours.scales, zeros, *span)
            values = dequantize_affine(codes, (1, group), ours.scales, zeros, *span)
            found[f"int{bits} group {group}"] = different(values, ours.dequantized)
    return found


def compressed_tensors(W: torch.Tensor) -> dict[str, int]:
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize

    found = {}
    for format, bits, kind in (("int8", 8, "int"), ("int4", 4, "int"), ("fp8_e4m3", 8, "float")):
        for group in (None, 32, 128):
            ours = quantize(W, format, granularity=group or "channel")
            arguments = QuantizationArgs(
                num_bits=bits, type=kind, strategy="group" if group else "channel", group_size=group
            )
            theirs = fake_quantize(W, ours.scales, torch.zeros_like(ours.scales), arguments)
            found[f"{format} {group or 'channel'}"] = different(theirs, ours.dequantized)
    return found


def gguf(W: torch.Tensor) -> dict[str, int]:
    from gguf import GGMLQuantizationType, quants

    found = {}
    kind = GGMLQuantizationType.MXFP4
    theirs = quants.dequantize(quants.quantize(W.numpy(), kind), kind)
    found["mxfp4"] = different(torch.from_numpy(theirs), quantize(W, "mxfp4").dequantized)
    return found


PEERS: dict[str, Callable[[torch.Tensor], dict[str, int]]] = {
    "bitsandbytes": bitsandbytes,
    "torchao": torchao,
    "compressed_tensors": compressed_tensors,
    "gguf": gguf,
}


def main() -> None:
    target = Path(sys.argv[1])
    answer = json.loads(target.read_text()) if target.exists() else {"peers": {}}
    answer |= {
        "command": "python packages/quant-risk-analyzer/benchmarks/quantizer_peers.py quantizer_peers.json",
        "date": str(date.today()),
        "device": f"{platform.machine()} CPU",
        "weights": f"{DRAWS} of {ROWS} x {COLUMNS}, Student's t with 4 degrees of freedom, float32",
        "unit": "dequantized weights that differ from the library's",
    }
    for name, compare in PEERS.items():
        if importlib.util.find_spec(name) is None:
            continue
        counts: dict[str, int] = {}
        for seed in range(DRAWS):
            for case, count in compare(draw(seed)).items():
                counts[case] = counts.get(case, 0) + count
        package = name.replace("_", "-")
        answer["peers"][f"{package} {version(package)}"] = counts
        target.write_text(json.dumps(answer, indent=1) + "\n")
        print(name, counts)


if __name__ == "__main__":
    main()
