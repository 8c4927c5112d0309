"""Everything fitted on one device, and what stands in for a device that was not measured."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from latency_predictor.residual import Residual, residual_from
from latency_predictor.timing import Decode, Exchange, Gemm, Hardware, Prefill, Vector
from mfi_command import BadInput
from roofline import Device

Fitted = TypeVar("Fitted", Gemm, Prefill, Decode, Vector, Exchange)
_L2_BYTES = 40 << 20  # where the table does not know: of a data-centre part
FORMAT = "latency-predictor fit 1"


@dataclass(frozen=True)
class DeviceFit:
    """Coefficients of one device.

    Attributes
    ----------
    device
        Its name in `roofline.devices()`, or the user's own.
    gemms
        By dtype.
    prefills, decodes
        Attention by implementation: "torch" (scaled_dot_product_attention) or "vllm".
    vectors
        By kernel: "torch.rms", "vllm.norm" and so on.
    exchanges
        All-reduce by number of devices.
    residuals
        By what they correct: "gemm.bf16", "prefill.torch", "decode.vllm".
    sources
        Where the measurements are from, each with its licence.
    sustained
        Share of the rate of products that is left in whole passes, which give the chip no rest; None where
        the products were timed in long loops, without a rest either.
    """

    device: str
    gemms: Mapping[str, Gemm]
    prefills: Mapping[str, Prefill]
    decodes: Mapping[str, Decode]
    vectors: Mapping[str, Vector]
    exchanges: Mapping[int, Exchange] = field(default_factory=dict)
    residuals: Mapping[str, Residual] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    sustained: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the content of a fit file."""
        return {
            "format": FORMAT,
            "device": self.device,
            "sources": list(self.sources),
            "sustained": self.sustained,
            **{
                name: {str(key): _rounded(asdict(value)) for key, value in getattr(self, name).items()}
                for name in ("gemms", "prefills", "decodes", "vectors", "exchanges")
            },
            "residuals": {key: value.to_dict() for key, value in self.residuals.items()},
        }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {key: float(f"{value:.5g}") for key, value in values.items()}


def device_fit_from(values: Mapping[str, Any], where: str) -> DeviceFit:
    """The inverse of `DeviceFit.to_dict`; `BadInput` naming `where` if it is something else."""
    if values.get("format") != FORMAT:
        raise BadInput(
            f"{where}: format is {values.get('format')!r}, expected {FORMAT!r} (from `fit --write`)"
        )
    try:
        return DeviceFit(
            device=str(values["device"]),
            gemms={key: Gemm(**one) for key, one in values["gemms"].items()},
            prefills={key: Prefill(**one) for key, one in values["prefills"].items()},
            decodes={key: Decode(**one) for key, one in values["decodes"].items()},
            vectors={key: Vector(**one) for key, one in values["vectors"].items()},
            exchanges={int(key): Exchange(**one) for key, one in values.get("exchanges", {}).items()},
            residuals={key: residual_from(one) for key, one in values.get("residuals", {}).items()},
            sources=tuple(values.get("sources", ())),
            sustained=None if values.get("sustained") is None else float(values["sustained"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{where}: no usable fit: {error!r}; make it again with `fit --write`") from error


@cache
def shipped() -> dict[str, DeviceFit]:
    """The fits that come with the package, by device."""
    found = {}
    for entry in sorted(files("latency_predictor").joinpath("fits").iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".json"):
            made = device_fit_from(json.loads(entry.read_text(encoding="utf-8")), entry.name)
            found[made.device] = made
    return found


def read_fit(path: str | Path) -> dict[str, Any]:
    """The content of a file that `fit` wrote."""
    file = Path(path)
    if not file.is_file():
        raise BadInput(f"{file}: no such file; `latency-predictor fit ROWS --write {file}` makes one")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{file}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{file}: holds a {type(content).__name__}, expected what `fit --write` writes")
    return content


def geometric_mean(made: Sequence[Fitted]) -> Fitted:
    """Mean of coefficients in the logarithm; zeros count as a millionth."""
    columns = zip(*(astuple(one) for one in made), strict=True)
    logs = ([math.log(max(value, 1e-6 * (value > 0) or 1e-12)) for value in column] for column in columns)
    return type(made[0])(*(math.exp(math.fsum(column) / len(column)) for column in logs))


def merged(fits: Sequence[DeviceFit], name: str) -> DeviceFit:
    """What stands in for a device that was not measured: means of the others, without their residuals.

    Shares of the peaks and the seconds of a launch are alike on GPUs; a residual is a device's own. Products
    count as they are in whole passes.
    """
    fits = [replace(fit, gemms=_in_passes(fit)) for fit in fits]

    def mean(field_name: str) -> dict[Any, Any]:
        keys = sorted({key for fit in fits for key in getattr(fit, field_name)})
        return {
            key: geometric_mean(
                [getattr(fit, field_name)[key] for fit in fits if key in getattr(fit, field_name)]
            )
            for key in keys
        }

    return DeviceFit(
        device=name,
        gemms=mean("gemms"),
        prefills=mean("prefills"),
        decodes=mean("decodes"),
        vectors=mean("vectors"),
        exchanges=mean("exchanges"),
        sources=tuple(dict.fromkeys(source for fit in fits for source in fit.sources)),
    )


def _in_passes(fit: DeviceFit) -> dict[str, Gemm]:
    share = 1.0 if fit.sustained is None else fit.sustained
    return {dtype: replace(one, compute=one.compute * share) for dtype, one in fit.gemms.items()}


def completed(fit: DeviceFit, others: Sequence[DeviceFit]) -> DeviceFit:
    """`fit` with the means of `others` where it has nothing."""
    mean = merged(others, fit.device) if others else fit
    return DeviceFit(
        device=fit.device,
        gemms={**mean.gemms, **fit.gemms},
        prefills={**mean.prefills, **fit.prefills},
        decodes={**mean.decodes, **fit.decodes},
        vectors={**mean.vectors, **fit.vectors},
        exchanges={**mean.exchanges, **fit.exchanges},
        residuals=fit.residuals,
        sources=fit.sources,
        sustained=fit.sustained,
    )


def hardware_of(device: Device, dtype: str) -> Hardware:
    """The numbers that the formulas read."""
    return Hardware(
        device.peak_flop_per_s(dtype),
        device.bandwidth_bytes_per_s,
        device.units or 0,
        device.l2_bytes or _L2_BYTES,
    )
