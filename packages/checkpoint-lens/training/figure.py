"""Draws the loss curve as a small SVG, so that the card needs no plotting library."""

from typing import Any

WIDTH, HEIGHT = 640, 320
LEFT, TOP, RIGHT, BOTTOM = 50, 20, 620, 280
COLOURS = {"train": "#4477aa", "validation": "#cc6677"}


def _line(points: list[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, words: str, anchor: str = "middle", colour: str = "#555555") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def loss_figure(curve: list[dict[str, float]]) -> str:
    """SVG of training and validation loss (nats per token) by step; the y axis spans whole numbers."""
    losses = [row[key] for row in curve for key in COLOURS]
    low, high, steps = int(min(losses)), int(max(losses)) + 1, curve[-1]["step"]

    def place(row: dict[str, Any], key: str) -> tuple[float, float]:
        across, down = row["step"] / steps, (high - row[key]) / (high - low)
        return LEFT + across * (RIGHT - LEFT), TOP + down * (BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">',
        "<title>Loss of the reference model by step</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in range(low, high + 1):
        y = TOP + (high - value) / (high - low) * (BOTTOM - TOP)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 8, y + 4, str(value), "end"))
    for index, (key, colour) in enumerate(COLOURS.items()):
        parts.append(_line([place(row, key) for row in curve], colour))
        parts.append(_text(RIGHT, TOP + 14 + 16 * index, f"{key} {curve[-1][key]:.3f}", "end", colour))
    parts.append(_text((LEFT + RIGHT) / 2, HEIGHT - 10, f"step (of {steps}); loss in nats per token"))
    return "\n".join([*parts, "</svg>"]) + "\n"
