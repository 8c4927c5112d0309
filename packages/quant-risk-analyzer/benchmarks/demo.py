"""The demo of the manual: runs the command for real and draws what a terminal shows, as a GIF.

Run: python demo.py OUTPUT.gif
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

COMMAND = (
    "quant-risk-analyzer rate reference --formats int4 --layers *.[05].* --tokens 1024 "
    "--verify 8 --evaluate reference:in-domain"
)
COLUMNS, ROWS, SIZE = 104, 30, 13
INK, PAPER, PROMPT = "#e6edf3", "#0d1117", "#7ee787"
TYPED_MS, LINE_MS, END_MS = 60, 130, 6000


def answered() -> list[str]:
    """The lines that the command prints, cut to the width; the table's columns that fit."""
    result = subprocess.run(
        [sys.executable, "-m", "quant_risk_analyzer.cli", *COMMAND.split()[1:]],
        check=True,
        capture_output=True,
        text=True,
    )
    lines: list[str] = []
    for line in result.stdout.splitlines():
        table = not line or line[0] in "┏┃┡│└"
        lines += [line[:COLUMNS]] if table else _wrapped(line)
    return lines


def _wrapped(line: str) -> list[str]:
    import textwrap

    return textwrap.wrap(line, COLUMNS) or [""]


def frame(lines: list[str], font: ImageFont.FreeTypeFont) -> Image.Image:
    """The last lines on a dark screen; the first of all is the prompt."""
    width, height = round(font.getlength("m") * COLUMNS) + 24, round(SIZE * 1.45) * ROWS + 24
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    for at, line in enumerate(lines[-ROWS:]):
        place = (12, 12 + at * round(SIZE * 1.45))
        draw.text(place, line, font=font, fill=PROMPT if line.startswith("$") else INK)
    return image.quantize(16)


def main() -> None:
    """Run, draw, write."""
    fonts = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSansMono.ttf"
    font = ImageFont.truetype(str(fonts), SIZE)
    typed = f"$ {COMMAND}"
    lines = answered()
    frames, times = [], []
    for end in range(2, len(typed) + 1, 6):
        frames.append(frame(_wrapped(typed[:end] + "▌"), font))
        times.append(TYPED_MS)
    shown = _wrapped(typed)
    for end in range(1, len(lines) + 1):
        frames.append(frame(shown + lines[:end], font))
        times.append(LINE_MS)
    times[-1] = END_MS
    frames[0].save(
        sys.argv[1], save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=True
    )


if __name__ == "__main__":
    main()
