"""Requests in what vLLM's and GuideLLM's benchmarks write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mfi_command import BadInput

_KNOWN = "what `vllm bench serve --save-detailed` or GuideLLM writes"
_HEADER = ["timestamp", "prompt_tokens", "output_tokens", "status"]
_GUIDELLM = ("successful", "incomplete", "errored")


def rows_of_benchmark(document: object, name: str, part: int | None) -> tuple[list[str], list[list[str]]]:
    """Header and a row for each request sent: its time, its tokens, and how it ended.

    Requests that failed were sent all the same: they stay, with the tokens known of them.

    Parameters
    ----------
    document : object
        The JSON of `vllm bench serve --save-result --save-detailed` (`start_times input_lens output_lens
        errors`), or of GuideLLM (`benchmarks[].requests.{successful, incomplete, errored}`, of versions
        before and after 0.4).
    name : str
        Of the file, for messages.
    part : int, optional
        Which of GuideLLM's benchmarks, from 1; needed where there are several, each with a rate of its own.

    Raises
    ------
    BadInput
        If the document is neither, or lacks the time of each request.
    """
    if isinstance(document, Mapping) and isinstance(document.get("benchmarks"), list):
        return _HEADER, _guidellm(_chosen(document["benchmarks"], name, part), name)
    if isinstance(document, Mapping) and "input_lens" in document:
        if part not in (None, 1):
            raise BadInput(f"{name} holds one benchmark; there is no part {part}")
        return _HEADER, _vllm(document, name)
    raise BadInput(f"{name} is not {_KNOWN}; give other requests as CSV or JSON Lines")


def _vllm(document: Mapping[str, object], name: str) -> list[list[str]]:
    prompts = _listed(document, "input_lens", name)
    if "start_times" not in document:
        raise BadInput(f"{name} has no start_times: run `vllm bench serve` with --save-detailed")
    times, outputs = (_listed(document, key, name, len(prompts)) for key in ("start_times", "output_lens"))
    errors = _listed(document, "errors", name, len(prompts)) if "errors" in document else [""] * len(prompts)
    ends = ["errored" if error else "successful" for error in errors]
    return [[str(t), str(p), str(o), end] for t, p, o, end in zip(times, prompts, outputs, ends, strict=True)]


def _listed(
    document: Mapping[str, object], key: str, name: str, length: int | None = None
) -> Sequence[object]:
    values = document.get(key)
    if not isinstance(values, list) or length not in (None, len(values)):
        raise BadInput(f"{key} of {name} is not a list with an entry for each request; expected {_KNOWN}")
    return values


def _chosen(benchmarks: Sequence[object], name: str, part: int | None) -> Mapping[str, object]:
    count = len(benchmarks)
    if part is None and count != 1:
        raise BadInput(
            f"{name} holds {count} benchmarks, each with a rate of its own; choose one with --part"
        )
    number = part or 1
    if not 1 <= number <= count:
        raise BadInput(f"{name} holds {count} benchmarks; there is no part {number}")
    chosen = benchmarks[number - 1]
    requests = chosen.get("requests") if isinstance(chosen, Mapping) else None
    if not isinstance(requests, Mapping):
        raise BadInput(f"benchmark {number} of {name} has no requests; expected {_KNOWN}")
    return requests


def _guidellm(requests: Mapping[str, object], name: str) -> list[list[str]]:
    rows = []
    for end in _GUIDELLM:
        for request in requests.get(end) or ():  # type: ignore[attr-defined]
            if not isinstance(request, Mapping):
                raise BadInput(f"a request under {end!r} of {name} is no object; expected {_KNOWN}")
            # Until version 0.3 the time was called start_time.
            time = request.get("request_start_time", request.get("start_time"))
            if time is None:
                raise BadInput(f"a request under {end!r} of {name} has no request_start_time")
            # A request that failed may lack its tokens: the least that a request can have.
            prompt, output = request.get("prompt_tokens") or 1, request.get("output_tokens") or 0
            rows.append([str(time), str(prompt), str(output), end])
    return rows
