"""Where metrics come from: texts scraped from `/metrics`, or a Prometheus server."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mfi_command import BadInput, require
from mm1_planner.inputs import positive
from mm1_planner.metrics.names import VLLM_NAMES
from mm1_planner.metrics.series import Snapshot

_TIMEOUT_S = 30.0


def parse_scrape(text: str, time_s: float) -> Snapshot:
    """One scrape in Prometheus's or OpenMetrics' text form.

    Raises
    ------
    BadInput
        If it is none, or prometheus_client is not installed.
    """
    require("prometheus_client", extra="metrics", distribution="mm1-planner")
    from prometheus_client.parser import text_string_to_metric_families

    snapshot = Snapshot(time_s)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                snapshot.add(sample.name, dict(sample.labels), float(sample.value))
    except (ValueError, IndexError, KeyError) as error:
        raise BadInput(f"this is no scrape of metrics: {error}; expected what /metrics answers") from None
    if not snapshot.values:
        raise BadInput("no metric of vLLM in the scrape; expected names such as vllm:generation_tokens_total")
    return snapshot


def read_scrapes(paths: Sequence[str | Path], every_s: float) -> list[Snapshot]:
    """Scrapes from files, `every_s` seconds apart, in the order given.

    Raises
    ------
    BadInput
        If there are fewer than two, or one is no scrape; the sentence names it.
    OSError
        If one cannot be read.
    """
    if len(paths) < 2:
        raise BadInput(f"{len(paths)} scrape given; what happened in between needs at least two")
    positive("time between scrapes", every_s)
    snapshots = []
    for index, path in enumerate(map(Path, paths)):
        try:
            snapshots.append(parse_scrape(path.read_text(encoding="utf-8"), index * every_s))
        except (UnicodeDecodeError, BadInput) as error:
            raise BadInput(f"{path.name}: {error}") from None
    return snapshots


def query_prometheus(address: str, *, end_s: float, duration_s: float, selector: str = "") -> list[Snapshot]:
    """The samples of vLLM that a Prometheus server holds, at the moments at which it scraped them.

    Parameters
    ----------
    address : str
        Such as `http://localhost:9090`.
    end_s, duration_s : float
        The last moment, seconds since 1970, and how far before it to begin.
    selector : str
        Labels such as `model_name="llama"`.

    Raises
    ------
    BadInput
        If the server cannot be reached or refuses, or holds none of the metrics.
    """
    whole_s = max(1, round(positive("duration", duration_s)))
    if not address.startswith(("http://", "https://")):
        raise BadInput(f"address {address!r} is no URL; expected such as http://localhost:9090")
    # One query for each form of the names: a name with ':' has to be matched as a label.
    names = "|".join(dict.fromkeys(each for name in VLLM_NAMES for each in (name, name.replace(":", "_"))))
    matcher = f'{{__name__=~"{names}"{", " + selector if selector else ""}}}'
    # Raw samples: a range at a fixed step would repeat the last one and blur when things happened.
    asked: dict[str, object] = {"query": f"{matcher}[{whole_s}s]", "time": end_s}
    snapshots: dict[float, Snapshot] = {}
    for series in _ask(address, asked):
        labels = dict(series["metric"])
        name = labels.pop("__name__", "")
        for time, text in series["values"]:
            moment = snapshots.setdefault(float(time), Snapshot(float(time)))
            moment.add(name, labels, _number(text))
    if not snapshots:
        raise BadInput(f"the server at {address} holds no metric of vLLM for that time and selector")
    return [snapshots[time] for time in sorted(snapshots)]


def _number(text: str) -> float:
    return {"+Inf": math.inf, "-Inf": -math.inf, "NaN": math.nan}.get(text) or float(text)


def _ask(address: str, asked: dict[str, object]) -> list[dict[str, Any]]:
    url = f"{address.rstrip('/')}/api/v1/query"
    data = urllib.parse.urlencode(asked).encode()
    try:
        # The scheme was checked above.
        with urllib.request.urlopen(url, data=data, timeout=_TIMEOUT_S) as reply:  # noqa: S310
            answer = json.load(reply)
    except urllib.error.HTTPError as error:
        raise BadInput(f"the server at {address} refuses: {_reason(error)}") from None
    except (urllib.error.URLError, OSError) as error:
        raise BadInput(f"no Prometheus answers at {address}: {error}") from None
    except ValueError as error:
        raise BadInput(f"what answers at {address} is no Prometheus: {error}") from None
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise BadInput(f"what answers at {address} is no Prometheus, or it failed")
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]).splitlines()[0]
    except (ValueError, KeyError, IndexError):
        return str(error)
