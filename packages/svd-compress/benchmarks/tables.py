"""The recorded results as the tables of README and guide.

uv run python packages/svd-compress/benchmarks/tables.py
"""

import json
from pathlib import Path
from statistics import median

ORDER = ["plain SVD", "ASVD scaling", "SVD-LLM whitening", "ours", "ours, refined"]
TITLES = {
    "perplexity_smollm2": "SmolLM2-135M-Instruct, its Q4_1 weights dequantized",
    "perplexity_reference": "reference",
}
RESULTS = Path(__file__).parent / "results"


def read(name):
    """One recorded run."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def number(value):
    """Three or four digits; a power of ten for what is beyond use; a dash for what was not measured."""
    if value is None:
        return "-"
    if value >= 1e5:
        return f"{value:.0e}".replace("e+0", "e")
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"


def perplexity(name):
    """In-domain / other domain, a row for each method and form, a column for each share kept."""
    run = read(name)
    keeps = sorted({row["keep"] for row in run["rows"]}, reverse=True)
    dense = " / ".join(number(value) for value in run["dense"])
    lines = [
        f"{TITLES[name]}, dense {dense} ({run['device']}, {run['date']}, torch {run['versions']['torch']}):",
        "",
    ]
    lines.append("| method | ranks | form | " + " | ".join(f"keep {keep:g}" for keep in keeps) + " |")
    lines.append("|---|---|---|" + "---|" * len(keeps))
    rows = sorted(run["rows"], key=lambda row: ORDER.index(row["method"]) if row["method"] in ORDER else 9)
    for key in dict.fromkeys((row["method"], row["ranks"], row["layout"]) for row in rows):
        own = {r["keep"]: r for r in run["rows"] if (r["method"], r["ranks"], r["layout"]) == key}
        cells = [
            " / ".join(number(own[k][text]["after"]) for text in ("in_domain", "other_domain"))
            if k in own
            else "-"
            for k in keeps
        ]
        lines.append("| " + " | ".join([*key, *cells]) + " |")
    return "\n".join(lines)


def latency(name):
    """A row for each shape, rank, form and number of tokens."""
    run = read(name)
    lines = [f"{run['device']}, {run['date']}, torch {run['versions']['torch']}, bfloat16, cold weights:", ""]
    lines += [
        "| form | tokens | shape | rank | kernel | dense us | factored us | speed-up | bound | of the bound |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for row in run["rows"]:
        gain = row["speed_up"]
        cells = [
            row["layout"], row["tokens"], "x".join(map(str, row["shape"])), row["rank"], row["kernel"],
            f"{row['dense_s'] * 1e6:.1f}", f"{row['factored_s'] * 1e6:.1f}",
            f"{gain['median']:.2f} ({gain['low']:.2f} to {gain['high']:.2f})", f"{row['bound']:.2f}",
            f"{gain['median'] / row['bound']:.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    told = [f"{key}: {value:.3f}" for key, value in run["median_share_of_bound"].items()]
    for tokens in sorted({row["tokens"] for row in run["rows"]}):
        both = [row["speed_up"]["median"] / row["bound"] for row in run["rows"] if row["tokens"] == tokens]
        told.append(f"both forms, {tokens} tokens: {median(both):.3f}")
    return "\n".join([*lines, "", f"Median share of the bound: {', '.join(told)}."])


if __name__ == "__main__":
    for name in TITLES:
        print(perplexity(name), end="\n\n")
    print(latency("latency_h200"))
