"""A batching server of a language model as the service of a plan: `llm:alpha=12ms,beta=100us,delta=30us`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mfi_command import BadInput
from mm1_planner.inputs import parse_seconds, whole
from mm1_planner.llm.iteration import Replica

_TIMES = ("alpha", "beta", "gamma", "delta")
_NUMBERS = ("max_batch", "token_budget", "kv_tokens")
_FORM = "llm:alpha=12ms,beta=100us,delta=30us, further gamma, max_batch, token_budget, kv_tokens"


def is_replica(text: str | None) -> bool:
    """Whether a service is a batching server."""
    return text is not None and text.strip().lower().startswith("llm:")


def parse_replica(text: str) -> Replica:
    """The server from its name; times that are not given are 0.

    Raises
    ------
    BadInput
        If a name is unknown, given twice, or no number, or alpha is missing.

    Examples
    --------
    >>> parse_replica("llm:alpha=12ms,beta=100us,max_batch=64").max_batch
    64
    """
    given: dict[str, str] = {}
    for part in text.strip()[len("llm:") :].split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in _TIMES + _NUMBERS or name in given:
            raise BadInput(f"service {text!r} is not understood at {part!r}; expected {_FORM}")
        given[name] = value
    if "alpha" not in given:
        raise BadInput(f"service {text!r} has no alpha, the fixed time of an iteration; expected {_FORM}")
    alpha, beta, gamma, delta = (_seconds(name, given.get(name, "0")) for name in _TIMES)
    most = _numbers(given)
    plain = Replica(alpha, beta, gamma, delta)
    return replace(plain, **most) if most else plain


def _seconds(name: str, text: str) -> float:
    return 0.0 if text == "0" else parse_seconds(name, text)


def _numbers(given: dict[str, str]) -> dict[str, Any]:
    found = {}
    for name in _NUMBERS:
        if name in given:
            try:
                found[name] = whole(name, int(given[name]), largest=10**12)
            except ValueError as error:
                raise BadInput(f"{name} is {given[name]!r}: {error}") from None
    return found
