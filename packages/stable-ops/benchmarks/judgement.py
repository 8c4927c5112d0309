"""Counting what was checked on a device, and settling what lies near a tie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import float64_oracle as oracle
import numpy as np
import torch

from stable_ops.testing.exact import settle

CODES = 2**16
ROW_OPS = (*oracle.ROWS, "rms_norm_hf")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def generator(*seed: int) -> Any:
    return torch.Generator(DEVICE).manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))


def every_number(dtype: Any, start: int = 0, count: int = CODES) -> Any:
    """The numbers of a 16-bit or 32-bit format in the order of their bits."""
    size = torch.int16 if dtype.itemsize == 2 else torch.int32
    return torch.arange(start, start + count, device=DEVICE).to(size).view(dtype)


@dataclass
class Tally:
    """What a part has counted so far.

    near: within the oracle's bound of a tie. settled: of these, decided by longer arithmetic, with the last
    `by_balls` of them by balls. undecided: near ones that nothing has settled.
    """

    part: str
    op: str
    dtype: str
    tier: str
    limit_ulp: float
    chunks: int = 0
    checked: int = 0
    near: int = 0
    settled: int = 0
    by_balls: int = 0
    undecided: int = 0
    misrounded: int = 0
    max_ulp: float = 0.0
    seconds: float = 0.0
    example: str = ""
    where: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        if self.tier == "T1" and self.dtype != "float32":
            return self.checked > 0 and self.misrounded + self.undecided == 0
        return self.checked > 0 and self.max_ulp <= self.limit_ulp


def judge(tally: Tally, y: Any, truth: oracle.Truth, arguments: tuple[Any, ...]) -> None:
    """Count the outputs of one chunk; settle those near a tie."""
    dtype = y.dtype
    near = oracle.near_tie(truth, dtype)
    wrong = oracle.differs(y, oracle.nearest(truth.value, dtype)) & ~near
    note(tally, y, wrong, off_ties(oracle.ulp_error(y, truth, dtype), near), truth)
    places = near.nonzero()
    tally.near += len(places)
    if len(places):
        settle_near(tally, y, places, arguments)


def off_ties(errors: Any, near: Any) -> Any:
    """Beside a tie either neighbour is half an ulp off, be it an infinity; balls say which is right."""
    return torch.where(near, errors.clamp(max=0.5), errors)


def note(tally: Tally, y: Any, wrong: Any, errors: Any, truth: Any) -> None:
    tally.checked += y.numel()
    tally.misrounded += int(wrong.sum())
    worst = float(errors.max())
    if worst > tally.max_ulp:
        tally.max_ulp = worst
        i = int(errors.argmax())
        tally.example = f"{float(y.flatten()[i])!r} where {float(truth.value.flatten()[i])!r} is expected"


def settle_near(tally: Tally, y: Any, places: Any, arguments: tuple[Any, ...]) -> None:
    """Ball arithmetic for the elements at `places`."""
    if y.dtype == torch.float32 and len(places) > 64:
        tally.undecided += len(places) - 64  # a sample: float32 promises 2 ulp, not the nearest number
        places = places[:: -(-len(places) // 64)]
    got = y[tuple(places.T)].double().cpu().numpy()
    rows, which = torch.unique(places[:, 0], return_inverse=True) if y.ndim > 1 else (None, None)
    if tally.op in ROW_OPS:
        batch = arguments[0][rows if rows is not None else places[:, 0]]
        where = places.clone()
        where[:, 0] = which if which is not None else torch.arange(len(places), device=places.device)
        given = (batch, *arguments[1:])
    else:
        where = torch.arange(len(places), device=places.device)[:, None]
        given = tuple(a[tuple(places.T)] for a in arguments)
    host = [a.double().cpu().numpy() for a in given]
    expected = settle(tally.op, host, where.cpu().numpy(), tally.dtype)
    tally.settled += len(places)
    tally.by_balls += len(places)
    tally.misrounded += int((got != expected).sum())
