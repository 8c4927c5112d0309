"""Rates in a user's table that look like those with sparsity, twice what a dense product reaches."""

from __future__ import annotations

import re

from roofline.hardware import Device, devices

# Each halving of the width at most doubles the rate of one chip's dense products.
_STEPS = (
    ("tf32", "bf16"),
    ("tf32", "fp16"),
    ("bf16", "fp8"),
    ("fp16", "fp8"),
    ("fp16", "int8"),
    ("bf16", "int8"),
)
_MOST = 2.2
_CLOSE = 0.03


def sparse_looking(device: Device) -> list[str]:
    """Why rates of `device` may be sparse ones; empty where nothing points to it or the table is the bundled
    one.

    Two signs: a rate twice that of the bundled device of the same model (the name holds the same model
    number), and a narrower format more than twice as fast as the wider one.
    """
    bundled = devices()
    if device.name in bundled and bundled[device.name].peaks_flop_per_s == device.peaks_flop_per_s:
        return []
    found = []
    for known in bundled.values():
        if not _models(known.name) & _models(device.name):
            continue
        for dtype, rate in device.peaks_flop_per_s.items():
            dense = known.peaks_flop_per_s.get(dtype)
            if dense and abs(rate / dense - 2) < 2 * _CLOSE:
                both = f"{rate / 1e12:,.4g} TFLOP/s is twice the dense {dense / 1e12:,.4g}"
                found.append(f"{dtype} {both} of {known.name}")
    rates = device.peaks_flop_per_s
    for wide, narrow in _STEPS:
        if wide in rates and narrow in rates and rates[narrow] > _MOST * rates[wide]:
            found.append(f"{narrow} is {rates[narrow] / rates[wide]:.3g} times {wide}")
    return [
        f"{device.name}: {sign}; write dense rates, not those with sparsity" for sign in dict.fromkeys(found)
    ]


def _models(name: str) -> set[str]:
    """Words of a name with a letter and a digit, as H100 or MI300X."""
    words = re.findall(r"[A-Za-z]*\d+[A-Za-z]*", name.upper())
    return {
        word for word in words if re.search(r"[A-Z]", word) and not re.fullmatch(r"\d+G[BI]?B?|SXM\d*", word)
    }
