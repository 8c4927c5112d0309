"""The page of measured errors, made from the committed numbers alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

FAMILIES = {
    "softmax": "Softmax",
    "norms": "Norms",
    "activations": "Activations",
    "linear-algebra": "Linear algebra",
    "formats": "Formats and sums",
    "sampling": "Sampling",
    "optim": "Optimizers",
}
HEAD = """# stable-ops: measured errors

Made by `python packages/stable-ops/benchmarks/errors.py` and not written by hand: {outputs:,} outputs of the
operators on a CPU ({machine}, numpy {numpy}, torch {torch}), each against arithmetic of 64 bits or more that
shares no code with them. A test holds this page to the committed numbers
(`packages/stable-ops/benchmarks/results/errors.json`) and measures some of them again.
[What the usual formulas answer](pitfalls.md) is on a page of its own, [why the bounds hold](maths.md) too.

## How to read it

- **ours, torch**: the largest distance from the exact result, in units in the last place of the dtype. 0.5 is
  what rounding alone costs; no method can promise less. Then the share of outputs that are not the number of
  the dtype nearest to the exact result; in float64, where nothing longer is rounded, it is not counted.
- **bound**: what the docstring promises before anything is run, of the element that was furthest off. **of
  bound**: the largest error over the bound of its own element. Above 1 the promise would be broken; far below
  it would be idle.
- **inputs**: the class on which ours was furthest off. Of layer_norm an ulp is at least that of 1, since its
  error is relative to the row.
"""


def render(results: dict[str, Any]) -> str:
    """The whole page."""
    outputs = sum(row["outputs"] for row in results["rows"])
    parts = [
        HEAD.format(outputs=outputs, **{key: results[key] for key in ("machine", "numpy", "torch")}),
        tiers(),
        operators(results["rows"]),
        classes(results["rows"]),
        families(results["families"]),
    ]
    return "\n".join(parts)


def pitfalls_page(results: dict[str, Any]) -> str:
    """The page of what the usual formulas answer."""
    lines = [
        "# stable-ops: pitfalls",
        "",
        "Each line is code that was run: the usual way, ours, and the truth in longer arithmetic. `so` is",
        "`stable_ops`, `fp` is `stable_ops.fp`, `F` is `torch.nn.functional`. Made by",
        "`python packages/stable-ops/benchmarks/errors.py`; the tests run ours again.",
    ]
    for family, title in FAMILIES.items():
        mine = [p for p in results["pitfalls"] if p["family"] == family]
        if not mine:
            continue
        lines += ["", f"## {title}"]
        for p in mine:
            lines += [
                "",
                f"### {p['title'][0].upper()}{p['title'][1:]}",
                "",
                f"`{p['given']}`",
                "",
                *table(
                    ("", "code", "answer"),
                    [
                        ("usual", f"`{p['usual']}`", value(p["usual_value"])),
                        ("ours", f"`{p['ours']}`", value(p["ours_value"])),
                        ("truth", f"`{p['truth']}`", value(p["truth_value"])),
                    ],
                ),
                "",
                f"Why: {p['why']}.",
            ]
    return "\n".join(lines) + "\n"


def tiers() -> str:
    """What each operator promises, read from the code."""
    from stable_ops.ops.triton.tiers import LIMIT_ULP, tier

    names = ("softmax", "log_softmax", "logsumexp", "layer_norm", "rms_norm", "gelu", "silu", "swiglu")
    rows = [
        (
            name,
            *(
                f"{(t := tier(name, dtype))}, {LIMIT_ULP[t]:g} ulp"
                for dtype in ("float16", "bfloat16", "float32")
            ),
        )
        for name in names
    ]
    lines = table(("operator on a GPU", "float16", "bfloat16", "float32"), rows)
    text = [
        "T1: correctly rounded. T2: at most 0.501 ulp. In both the bits of a row depend neither on the batch",
        "nor on the launch. On a CPU every operator is T1 in the three dtypes of the table.",
    ]
    return "\n".join(["## What is promised", "", *text, "", *lines, ""])


def operators(rows: list[dict[str, Any]]) -> str:
    """One line for each operator and dtype, over all classes of inputs."""
    lines = []
    for op, dtype in dict.fromkeys((row["op"], row["dtype"]) for row in rows):
        mine = [row for row in rows if (row["op"], row["dtype"]) == (op, dtype)]
        worst = max(mine, key=lambda row: number(row["max_ulp"]))
        lines.append(
            (
                op,
                dtype,
                pair(ulps(worst["max_ulp"]), share(mine, "misrounded")),
                pair(
                    ulps(max(number(row["torch_max_ulp"]) for row in mine)), share(mine, "torch_misrounded")
                ),
                ulps(worst["bound_ulp"]),
                f"{max(number(row['of_bound']) for row in mine):.3g}",
                worst["inputs"],
            )
        )
    head = ("operator", "dtype", "ours", "torch", "bound", "of bound", "inputs")
    return "\n".join(["## Operators", "", *table(head, lines), ""])


def pair(error: str, wrong: str) -> str:
    """An error, and the share that is not nearest where it is counted."""
    return f"{error}, {wrong}" if wrong else error


def classes(rows: list[dict[str, Any]]) -> str:
    """Where torch loses its digits: an operator and a class of inputs, in float32 and bfloat16."""
    parts = ["## By class of inputs", "", "Largest error in ulp, torch's in brackets."]
    for dtype in ("float32", "bfloat16"):
        mine = [row for row in rows if row["dtype"] == dtype]
        kinds = list(dict.fromkeys(row["inputs"] for row in mine))
        ops = list(dict.fromkeys(row["op"] for row in mine))
        found = {(row["op"], row["inputs"]): row for row in mine}

        def cell(op: str, kind: str, found: dict[Any, Any] = found) -> str:
            row = found.get((op, kind))
            return "" if row is None else f"{ulps(row['max_ulp'], 2)} ({ulps(row['torch_max_ulp'], 2)})"

        lines = [(kind, *(cell(op, kind) for op in ops)) for kind in kinds]
        parts += ["", f"### {dtype}", "", *table(("inputs", *ops), lines)]
    return "\n".join([*parts, ""])


def families(lines: list[dict[str, Any]]) -> str:
    """Everything that is no operator of rows."""
    parts = ["## Linear algebra, sums, sampling, optimizers"]
    for family, title in FAMILIES.items():
        mine = [line for line in lines if line["family"] == family]
        if mine:
            parts += ["", f"### {title}{' in blocks' if family == 'softmax' else ''}", ""]
            parts += table(
                ("function", "inputs", "quantity", "ours", "bound", "of bound", "beside it"),
                [
                    (
                        f"`{line['function']}`",
                        line["inputs"],
                        line["quantity"],
                        plain(line["ours"]),
                        plain(line["bound"]),
                        plain(line["of_bound"]),
                        f"{line['usual']}: {plain(line['usual_value'])}" if line["usual"] else "",
                    )
                    for line in mine
                ],
            )
    return "\n".join([*parts, ""])


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a Markdown table."""
    names = tuple(head)
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    return lines + [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]


def number(text: Any) -> float:
    """A number of the file, in which infinity is a word."""
    return float(text)


def ulps(found: Any, digits: int = 4) -> str:
    """An error in ulp: decimals below ten, a power of ten from a hundred thousand on."""
    error = number(found)
    if math.isinf(error):
        return "infinite"
    if error >= 99_999.5:
        return f"{error:.1e}".replace("e+0", "e").replace("e+", "e")
    if error < 9.5:
        return f"{error:.{digits}f}"
    return f"{error:,.0f}"


def share(rows: list[dict[str, Any]], key: str) -> str:
    """Of all outputs of some rows, in percent."""
    if rows[0][key] is None:
        return ""
    outputs = sum(row["outputs"] for row in rows)
    part = sum(row[key] * row["outputs"] for row in rows) / outputs
    return "0" if part == 0 else f"{100 * part:.2g} %"


def plain(found: Any) -> str:
    """A quantity to three digits."""
    if found is None:
        return ""
    amount = number(found)
    return "infinite" if math.isinf(amount) else f"{amount:.3g}"


def value(found: Any) -> str:
    """An answer as it is printed: nine digits, and the sign of a zero."""
    answer = number(found)
    return f"{answer:.9g}".replace("nan", "NaN")
