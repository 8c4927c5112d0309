"""YAML for plain data, without a library: block mappings and lists, and strings quoted where they must be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

# Letters first, nothing that YAML reads as something else; every other string is quoted.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
# YAML takes these in quotes only as escapes; JSON escapes some of them, and none above the first plane.
_ESCAPED = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"}


def to_yaml(value: object) -> str:
    """The value as a YAML document of one mapping or list.

    Examples
    --------
    >>> print(to_yaml({"kind": "A", "list": [{"x": 1}, {"z": "2"}]}), end="")
    kind: A
    list:
      - x: 1
      - z: "2"
    """
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: object) -> list[str]:
    if isinstance(value, Mapping | list | tuple) and not value:
        return ["{}" if isinstance(value, Mapping) else "[]"]
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _entry(f"{_scalar(str(key))}:", item)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        lines = []
        for item in value:
            first, *rest = _lines(item)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        return lines
    return [_scalar(value)]


def _entry(head: str, item: object) -> list[str]:
    if isinstance(item, Mapping | list | tuple) and item:
        return [head, *(f"  {line}" for line in _lines(item))]
    return [f"{head} {_lines(item)[0]}"]


def _scalar(value: object) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        text = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + _ESCAPED.sub(lambda match: f"\\U{ord(match[0]):08x}", text) + '"'
    text = json.dumps(value)
    # A number such as 1e+16 is a string in YAML 1.1, which wants a point.
    return (
        text.replace("e", ".0e", 1) if isinstance(value, float) and "." not in text and "e" in text else text
    )
