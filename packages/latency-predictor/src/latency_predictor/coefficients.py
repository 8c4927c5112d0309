"""The fitted coefficients that ship with the package, and which of them stand for a device."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from latency_predictor.timing import Decode, Gemm, Hardware, Prefill, Vector
from roofline import Device

Fitted = TypeVar("Fitted", Gemm, Prefill, Decode, Vector)
# Parts that are the same chip under another name or with other memory; the ratio to the peaks carries over.
SAME_CHIP = {
    "A100-80GB": "A100-SXM4-80GB",
    "A100-SXM4-40GB": "A100-SXM4-80GB",
}


@dataclass(frozen=True)
class DeviceFit:
    """Coefficients of one device; `gemms` by dtype."""

    gemms: Mapping[str, Gemm]
    prefill: Prefill
    decode: Decode
    vectors: Mapping[str, Vector]

    def gemm(self, dtype: str) -> Gemm:
        """Those of `dtype`; 16-bit ones stand in for what was not measured."""
        return self.gemms.get(dtype, self.gemms["bf16"])


@dataclass(frozen=True)
class Chosen:
    """The coefficients used for a device, whether they were fitted on it, and a sentence on where they are
    from.
    """

    fit: DeviceFit
    known: bool
    provenance: str


@cache
def table() -> dict[str, Any]:
    """The file as it ships."""
    text = (files("latency_predictor") / "coefficients.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def _fits() -> dict[str, DeviceFit]:
    return {name: _device_fit(entry) for name, entry in table()["device"].items()}


def _device_fit(entry: Mapping[str, Any]) -> DeviceFit:
    return DeviceFit(
        gemms={dtype: Gemm(**values) for dtype, values in entry["gemm"].items()},
        prefill=Prefill(**entry["prefill"]),
        decode=Decode(**entry["decode"]),
        vectors={kind: Vector(**values) for kind, values in entry["vector"].items()},
    )


def geometric_mean(made: Sequence[Fitted]) -> Fitted:
    """Mean of coefficients in the logarithm; all are positive."""
    columns = zip(*(astuple(one) for one in made), strict=True)
    return type(made[0])(*(math.exp(math.fsum(map(math.log, column)) / len(column)) for column in columns))


@cache
def _everyone() -> DeviceFit:
    fits = list(_fits().values())
    return DeviceFit(
        gemms={"bf16": geometric_mean([fit.gemms["bf16"] for fit in fits])},
        prefill=geometric_mean([fit.prefill for fit in fits]),
        decode=geometric_mean([fit.decode for fit in fits]),
        vectors={kind: geometric_mean([fit.vectors[kind] for fit in fits]) for kind in fits[0].vectors},
    )


def fit_for(device: Device) -> Chosen:
    """Coefficients for `device`: its own where it was measured, else the mean of the measured devices."""
    name = SAME_CHIP.get(device.name, device.name)
    if name in _fits():
        return Chosen(_fits()[name], True, f"fitted on measured kernels of {name}")
    others = ", ".join(_fits())
    return Chosen(
        _everyone(), False, f"{device.name} was not measured: mean of {others}, scaled by its data sheet"
    )


def hardware_of(device: Device, dtype: str) -> Hardware:
    """The numbers that the formulas read."""
    return Hardware(device.peak_flop_per_s(dtype), device.bandwidth_bytes_per_s, device.units or 0)
