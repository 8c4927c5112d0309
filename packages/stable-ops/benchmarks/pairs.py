"""swiglu of all pairs of 16-bit numbers: silu in two parts decides a product, balls where it cannot."""

from __future__ import annotations

import functools
from typing import Any

import float64_oracle as oracle
import numpy as np
import torch
from judgement import CODES, DEVICE, Tally, every_number, note, off_ties

import stable_ops
from stable_ops.testing.exact import nearest_pair, settle


@functools.cache
def gates(dtype: Any) -> tuple[Any, Any]:
    """silu of every number in two float64 parts, from balls."""
    x = every_number(dtype).double().cpu().numpy()
    high, low = x.copy(), np.zeros_like(x)
    high[np.isneginf(x)] = -0.0
    plain = np.flatnonzero(np.isfinite(x) & (x != 0))
    for i in plain:
        high[i], low[i] = nearest_pair("silu", float(x[i]))
    return torch.from_numpy(high).to(DEVICE), torch.from_numpy(low).to(DEVICE)


def check_pairs(dtype: Any, i: int, tally: Tally, *, elements: int) -> None:
    """`elements // 65536` gates with every `up`."""
    rows = elements // CODES
    numbers = every_number(dtype)
    gate = numbers[i * rows : (i + 1) * rows, None].expand(rows, CODES).contiguous()
    up = numbers.expand(rows, CODES).contiguous()
    y = stable_ops.swiglu(gate, up)
    high = gates(dtype)[0][i * rows : (i + 1) * rows, None]
    z = high * up.double()
    truth = oracle.Truth(z, oracle.NEAR * z.abs())
    near = oracle.near_tie(truth, dtype)
    wrong = oracle.differs(y, oracle.nearest(z, dtype)) & ~near
    note(tally, y, wrong, off_ties(oracle.ulp_error(y, truth, dtype), near), truth)
    places = near.nonzero()
    tally.near += len(places)
    if len(places):
        settle_pairs(tally, y, places, i * rows)


def settle_pairs(tally: Tally, y: Any, places: Any, first_gate: int) -> None:
    """The product in two parts decides; balls decide what it cannot, and a sample of what it can."""
    high, low = (part[places[:, 0] + first_gate] for part in gates(y.dtype))
    numbers = every_number(y.dtype)
    gate, up = numbers[places[:, 0] + first_gate], numbers[places[:, 1]]
    got = y[tuple(places.T)]
    expected, decided = nearest_product(high, low, up.double(), y.dtype)
    tally.settled += int(decided.sum())
    tally.misrounded += int((oracle.differs(got, expected) & decided).sum())
    sample = torch.zeros_like(decided)
    sample[:: max(1, len(places) // 16)] = True
    for_balls = (~decided | sample).nonzero().flatten()
    host = [a[for_balls].double().cpu().numpy() for a in (gate, up)]
    exact = settle("swiglu", host, np.arange(len(for_balls))[:, None], tally.dtype)
    tally.by_balls += len(for_balls)
    tally.settled += int((~decided).sum())
    tally.misrounded += int((got[for_balls].double().cpu().numpy() != exact).sum())


def nearest_product(high: Any, low: Any, up: Any, dtype: Any) -> tuple[Any, Any]:
    """(high + low) * up rounded to the format, and where that is certain; `up` has at most 11 bits."""
    p = high * up
    head = (high.view(torch.int64) & -(1 << 27)).view(torch.float64)
    error = (head * up - p) + (high - head) * up  # exact
    q = oracle.unit(p, dtype)
    below = torch.floor(p.abs() / q)
    sign = torch.where(p < 0, -1.0, 1.0)
    first = sign * (p - sign * (below + 0.5) * q) + sign * error  # exact where p is near the tie
    second = sign * low * up
    total = first + second
    decided = total.abs() > 2.0**-50 * (first.abs() + second.abs())
    rounded = sign * (below + (total > 0)) * q
    beyond = rounded.abs() > oracle.WIDTHS[dtype].largest
    return torch.where(beyond, sign * float("inf"), rounded), decided
