"""What to do with each module of a model, legal for the runtimes, from the answer of `rate` or `allocate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from quant_risk_analyzer.formats import Granularity, NumberFormat, format_named
from quant_risk_analyzer.roles import role_of

FUSED = ({"q", "k", "v"}, {"gate", "up"})
PARTS = ("q", "k", "v", "gate", "up")  # last part of a site's name that is cut from a fused module


@dataclass(frozen=True)
class Plan:
    """A format for each module, or none.

    Attributes
    ----------
    assignment
        Format by module path, None for full precision; q, k, v of a block agree, and gate, up.
    granularity
        Weights that share a scale, where the format leaves it open.
    default
        The format of most modules.
    model
        What was analysed, as it was named.
    grades, risks
        By module, where the source has them: the worse of the parts of a fused module.
    reasons
        Sentences by module.
    """

    assignment: Mapping[str, str | None]
    granularity: Granularity
    default: str
    model: str
    grades: Mapping[str, str]
    risks: Mapping[str, float]
    reasons: Mapping[str, tuple[str, ...]]

    @property
    def kept(self) -> list[str]:
        """Modules that stay in full precision."""
        return [name for name, format in self.assignment.items() if format is None]

    @property
    def group_size(self) -> int | None:
        """Length of a group, None for a scale a channel or tensor."""
        text = str(self.granularity)
        return int(text) if text.isdecimal() else None

    def by_format(self) -> dict[NumberFormat, list[str]]:
        """Modules of each format, the default first."""
        found: dict[NumberFormat, list[str]] = {format_named(self.default): []}
        for name, format in self.assignment.items():
            if format is not None:
                found.setdefault(format_named(format), []).append(name)
        return {kind: names for kind, names in found.items() if names}


def read_plan(path: str | Path, *, format: str | None = None) -> Plan:
    """The plan in a JSON file that `rate --json`, `rate -o x.json` or `allocate` wrote.

    Parameters
    ----------
    path
        The file.
    format
        Which of the formats of `rate` to export: layers rated C in it stay in full precision. `allocate` has
        chosen already.

    Raises
    ------
    BadInput
        No such file, other JSON, a format that was not rated, none named where several were.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} is not JSON: expected what `rate --json` or `allocate --json` wrote"
        ) from error
    if not isinstance(found, dict) or not ("assignment" in found or "layers" in found):
        raise BadInput(f"{path} is no answer of `rate` or `allocate`: it has neither layers nor assignment")
    model = str((found.get("inputs") or {}).get("model", "model"))
    granularity = found.get("granularity") or (found.get("inputs") or {}).get("granularity", "channel")
    if "assignment" in found:
        return make_plan(found["assignment"], granularity=granularity, model=model)
    return _from_rating(found, format, granularity, model, path)


def _from_rating(
    found: Mapping[str, Any], format: str | None, granularity: Granularity, model: str, path: str | Path
) -> Plan:
    layers = found["layers"]
    if not layers or not all(isinstance(each, dict) and each.get("formats") for each in layers):
        raise BadInput(f"{path}: its layers carry no formats: expected the answer of `rate`")
    rated = list(layers[0]["formats"])
    if format is None and len(rated) > 1:
        raise BadInput(f"{path} rates {', '.join(rated)}: say which with --format")
    name = rated[0] if format is None else format_named(format).name
    if name not in rated:
        raise BadInput(f"{path} does not rate {name}: it has {', '.join(rated)}")
    facts = {each["name"]: each["formats"][name] for each in layers}
    return make_plan(
        {each: None if fact.get("rating") == "C" else name for each, fact in facts.items()},
        granularity=granularity,
        model=model,
        default=name,
        grades={each: fact["rating"] for each, fact in facts.items() if "rating" in fact},
        risks={each: float(fact["risk"]) for each, fact in facts.items() if "risk" in fact},
        reasons={each: tuple(fact.get("reasons", ())) for each, fact in facts.items()},
    )


def make_plan(
    assignment: Mapping[str, str | None],
    *,
    granularity: Granularity = "channel",
    model: str = "model",
    default: str | None = None,
    grades: Mapping[str, str] | None = None,
    risks: Mapping[str, float] | None = None,
    reasons: Mapping[str, tuple[str, ...]] | None = None,
) -> Plan:
    """A plan for modules from formats by site: parts of fused modules joined, partners given one precision.

    Where partners differ, all take the most bits among them, full precision being the most of all.

    Raises
    ------
    BadInput
        An unknown format, nothing assigned.
    """
    if not assignment:
        raise BadInput("nothing is assigned: there is no layer to export")
    modules: dict[str, str | None] = {}
    for site, format in assignment.items():
        name = module_of(site)
        modules[name] = _higher(modules[name], format) if name in modules else _named(format)
    for group in _partners(modules):
        shared = modules[group[0]]
        for name in group[1:]:
            shared = _higher(shared, modules[name])
        modules.update(dict.fromkeys(group, shared))
    used = [format for format in modules.values() if format is not None]
    return Plan(
        assignment=modules,
        granularity=granularity,
        default=default or (max(sorted(set(used)), key=used.count) if used else "int8"),
        model=model,
        grades=_joined(grades or {}, max),
        risks=_joined(risks or {}, lambda *each: sum(each)),
        reasons=_joined(reasons or {}, lambda a, b: tuple(dict.fromkeys((*a, *b)))),
    )


def module_of(site: str) -> str:
    """Path of the stored module: "h.0.attn.c_attn" for its part "h.0.attn.c_attn.q"."""
    stem, _, last = site.rpartition(".")
    return stem if last in PARTS and stem else site


def _joined(values: Mapping[str, Any], join: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for site, value in values.items():
        name = module_of(site)
        found[name] = join(found[name], value) if name in found else value
    return found


def _named(format: str | None) -> str | None:
    return None if format is None else format_named(format).name


def _higher(one: str | None, other: str | None) -> str | None:
    """The format with more bits; full precision has the most."""
    if one is None or other is None:
        return None
    return max(_named(one) or "", _named(other) or "", key=lambda name: (format_named(name).bits, name))


def _partners(modules: Mapping[str, str | None]) -> list[list[str]]:
    """Modules that a runtime fuses: q, k, v; gate, up; the experts of a block."""
    found: dict[object, list[str]] = {}
    for name in modules:
        parent, role = name.rpartition(".")[0], role_of(name)
        around, inside, _ = name.partition(".experts.")
        if inside:
            found.setdefault((around, "experts"), []).append(name)
            continue
        for number, group in enumerate(FUSED):
            if role in group:
                found.setdefault((parent, number), []).append(name)
    return [names for names in found.values() if len(names) > 1]
