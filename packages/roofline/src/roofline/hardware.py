"""Devices: what their data sheets promise, each cell with its source.

Only dense rates: a data sheet's "with sparsity" figures are twice what a dense matrix product can reach.
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from roofline.dtypes import dtype_name

# A peak over 1e20 FLOP/s or 1e20 B/s is a slip of units in somebody's table, not a device.
_LARGEST_RATE = 1e20


@dataclass(frozen=True)
class Device:
    """The ceilings of one device.

    Attributes
    ----------
    name
        As looked up by `device`.
    peaks_flop_per_s
        Dense peak per dtype in FLOP/s (a multiply and an add are two); fp32 is the vector peak.
    bandwidth_bytes_per_s
        Of the memory that holds the weights, bytes/s.
    memory_bytes, l2_bytes
        Capacity of that memory and of the last cache on the die; None where not known.
    units
        Streaming multiprocessors, compute units or cores; None where not known.
    sources
        Cell (`"peaks.bf16"`, `"bandwidth"`, `"memory"`, `"l2"`, `"units"`) -> where the number stands.
    unverified
        Cells that no second source confirms.
    note
        What to know before using the numbers.
    levels_bytes_per_s
        Bandwidth of the levels before that memory (`"l2"`, `"l1"`), measured: data sheets do not give them.
    launch_s
        Least seconds that a kernel takes, measured.
    link_bytes_per_s
        Of the links to the other devices of the host, out of one device in one direction.
    """

    name: str
    peaks_flop_per_s: Mapping[str, float]
    bandwidth_bytes_per_s: float
    memory_bytes: int | None = None
    l2_bytes: int | None = None
    units: int | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()
    note: str = ""
    levels_bytes_per_s: Mapping[str, float] = field(default_factory=dict)
    launch_s: float | None = None
    link_bytes_per_s: float | None = None

    def peak_flop_per_s(self, dtype: str) -> float:
        """Peak for `dtype` in FLOP/s; `BadInput` if this device has no such rate."""
        short = dtype_name(dtype)
        if short not in self.peaks_flop_per_s:
            known = ", ".join(self.peaks_flop_per_s) or "none"
            raise BadInput(f"{self.name} has no {short} rate in the table; it has {known}")
        return self.peaks_flop_per_s[short]

    def ridge_flop_per_byte(self, dtype: str) -> float:
        """Arithmetic intensity where the two ceilings meet: peak / bandwidth, in FLOP/byte.

        Below it an operator is bound by memory, above it by compute (Williams, Waterman, Patterson:
        Roofline, CACM 52(4), 2009).
        """
        return self.peak_flop_per_s(dtype) / self.bandwidth_bytes_per_s

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the ridge of each dtype."""
        return {
            "name": self.name,
            "peaks_flop_per_s": dict(self.peaks_flop_per_s),
            "bandwidth_bytes_per_s": self.bandwidth_bytes_per_s,
            "ridge_flop_per_byte": {key: self.ridge_flop_per_byte(key) for key in self.peaks_flop_per_s},
            "memory_bytes": self.memory_bytes,
            "l2_bytes": self.l2_bytes,
            "units": self.units,
            "sources": dict(self.sources),
            "unverified": list(self.unverified),
            "note": self.note,
            "levels_bytes_per_s": dict(self.levels_bytes_per_s),
            "launch_s": self.launch_s,
            "link_bytes_per_s": self.link_bytes_per_s,
        }


def _rate(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LARGEST_RATE:
        raise BadInput(f"{where} is {value!r}, expected a positive number in base units (per second)")
    return float(value)


def _optional_rate(where: str, value: object) -> float | None:
    return None if value is None else _rate(where, value)


def checked_rate(name: str, value: float) -> float:
    """A positive number that a user gave; `BadInput` naming it otherwise."""
    return _rate(name, value)


def _size(where: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 1e18:
        raise BadInput(f"{where} is {value!r}, expected a positive whole number")
    return int(value)


def device_from(entry: Mapping[str, Any]) -> Device:
    """A `Device` from one `[[device]]` entry of a TOML table, or from the JSON of `roofline measure`.

    Raises
    ------
    BadInput
        A missing or unusable field, or a table that says its rates are sparse.
    """
    name = str(entry.get("name") or entry.get("device") or "unnamed device")
    if entry.get("sparse"):
        raise BadInput(f"{name}: rates with sparsity were given; write the dense rates (usually half)")
    peaks = entry.get("peaks_flop_per_s")
    if not isinstance(peaks, Mapping) or "bandwidth_bytes_per_s" not in entry:
        raise BadInput(f"{name}: expected peaks_flop_per_s (dtype -> FLOP/s) and bandwidth_bytes_per_s")
    rates = {dtype_name(key): _rate(f"{name}: peak {key}", value) for key, value in peaks.items()}
    given = {f"peaks.{key}" for key in rates} | {"bandwidth"}
    given |= {cell for cell in ("memory", "l2") if entry.get(f"{cell}_bytes") is not None}
    given |= {"units"} if entry.get("units") is not None else set()
    given |= {"link"} if entry.get("link_bytes_per_s") is not None else set()
    levels = entry.get("levels_bytes_per_s") or {}
    if not isinstance(levels, Mapping):
        raise BadInput(f"{name}: levels_bytes_per_s is {levels!r}, expected a table such as {{ l2 = 5e12 }}")
    source, own = str(entry.get("source", "user's table")), entry.get("sources") or {}
    return Device(
        name=name,
        peaks_flop_per_s=rates,
        bandwidth_bytes_per_s=_rate(f"{name}: bandwidth", entry["bandwidth_bytes_per_s"]),
        memory_bytes=_size(f"{name}: memory_bytes", entry.get("memory_bytes")),
        l2_bytes=_size(f"{name}: l2_bytes", entry.get("l2_bytes")),
        units=_size(f"{name}: units", entry.get("units")),
        sources={cell: str(own.get(cell, own.get(cell.partition(".")[0], source))) for cell in sorted(given)},
        unverified=tuple(entry.get("unverified", ())),
        note=str(entry.get("note", "")),
        levels_bytes_per_s={key: _rate(f"{name}: level {key}", value) for key, value in levels.items()},
        launch_s=_optional_rate(f"{name}: launch_s", entry.get("launch_s")),
        link_bytes_per_s=_optional_rate(f"{name}: link_bytes_per_s", entry.get("link_bytes_per_s")),
    )


@cache
def _bundled() -> tuple[dict[str, Device], dict[str, str]]:
    entries = tomllib.loads((files("roofline") / "devices.toml").read_text(encoding="utf-8"))["device"]
    table = {entry["name"]: device_from(entry) for entry in entries}
    names = {_key(name): name for name in table}
    names |= {_key(alias): entry["name"] for entry in entries for alias in entry.get("aliases", ())}
    return table, names


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def devices(path: str | Path | None = None) -> dict[str, Device]:
    """The data-sheet table, name -> `Device`, with the entries of the user's TOML file at `path` added.

    The file holds `[[device]]` entries in the form of the bundled table; an entry of the same name wins.
    """
    table = dict(_bundled()[0])
    if path is not None:
        table |= {entry.name: entry for entry in _read_table(Path(path))}
    return table


def _read_table(path: Path) -> list[Device]:
    if not path.is_file():
        raise BadInput(f"{path}: no such file; expected a TOML table or the JSON of roofline measure")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise BadInput(f"{path}: cannot be read as {path.suffix or 'TOML'}: {error}") from error
    entries = content.get("device", [content]) if isinstance(content, dict) else None
    if isinstance(entries, str):  # in the JSON of a measurement, `device` is the name
        entries = [content]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadInput(f"{path}: expected [[device]] entries, or the JSON of roofline measure")
    return [device_from(entry) for entry in entries]


def device(name: str | Path | Device, *, table: str | Path | None = None) -> Device:
    """Look a device up.

    Parameters
    ----------
    name
        A name of `devices()` (capitals, dashes and spaces do not matter), a path to a .toml or .json file
        that holds one device, or a `Device`, which is returned.
    table
        The user's own TOML table, looked at first.

    Raises
    ------
    BadInput
        An unknown name; the message lists the nearest ones.
    """
    if isinstance(name, Device):
        return name
    if Path(name).suffix in (".toml", ".json"):
        found = _read_table(Path(name))
        if len(found) != 1:
            raise BadInput(f"{name}: holds {len(found)} devices; give it as the table and name one")
        return found[0]
    own = {_key(entry.name): entry for entry in _read_table(Path(table))} if table is not None else {}
    bundled, names = _bundled()
    key = _key(str(name))
    if key in own:
        return own[key]
    if key in names:
        return bundled[names[key]]
    near = difflib.get_close_matches(key, [*own, *names], n=4, cutoff=0.4)
    hint = ", ".join(dict.fromkeys(own[match].name if match in own else names[match] for match in near))
    raise BadInput(f"device {name!r} is not in the table; nearest: {hint or 'none'}; see `roofline devices`")


def attainable(device: Device, intensity_flop_per_byte: float, *, dtype: str = "bf16") -> float:
    """The roofline: FLOP/s that an operator of this intensity can reach, min(peak, bandwidth * intensity)."""
    if math.isnan(intensity_flop_per_byte) or intensity_flop_per_byte < 0:
        raise BadInput(f"intensity is {intensity_flop_per_byte}, expected FLOP/byte >= 0")
    peak = device.peak_flop_per_s(dtype)
    return min(peak, device.bandwidth_bytes_per_s * intensity_flop_per_byte)
