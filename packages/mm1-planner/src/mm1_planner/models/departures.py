"""The wait behind customers who leave servers of two phases: by a generating function on a circle."""

from __future__ import annotations

import math

import numpy as np

from mm1_planner.models.map_ph_c import MAPPHc

_ERROR = 1e-8


def wait_beyond(queue: MAPPHc, times_s: np.ndarray) -> np.ndarray:
    r"""P(W > t) of MAP/PH/c with two service phases, float64, the shape (n,) of the times.

    Who finds n waiting waits while at most n departures have come, N(t) <= n. All servers are busy
    meanwhile, each a process of its own: with i of them in the first phase
    $E z^{N(t)}=f_1^i f_2^{c-i}$, $f=e^{(T+z\tau\alpha)t}\mathbf 1$, a function of two by two matrices. The
    sum over n of the law of (n, i) times $P(N\le n)$ is a mean over z on a circle between the largest
    eigenvalue of R and 1.

    Notes
    -----
    Absolute error 1e-8; cost O(L c) for each time, $L\approx 37/(-\log\mathrm{sp}(R))$.
    """
    (start, steps), count = queue.services, queue.servers
    decay = -math.log(float(np.abs(np.linalg.eigvals(queue.ratio)).max()))
    points = 2 ** math.ceil(math.log2(max(64.0, -2 * math.log(_ERROR) / decay)))
    radius = math.exp(-decay / 2)
    half = points // 2 + 1
    z = radius * np.exp(2j * np.pi * np.arange(half) / points)
    ahead = np.fft.fft(_found_ahead(queue, points, radius), axis=0)[:half]
    weights = np.full(half, 2.0)  # the lower half of the circle is the conjugate of the upper one
    weights[[0, -1]] = 1.0
    leave = -steps.sum(axis=1)
    matrix = steps + z[:, None, None] * np.outer(leave, start)
    middle = (matrix[:, 0, 0] + matrix[:, 1, 1]) / 2
    apart = (matrix[:, 0, 0] - matrix[:, 1, 1]) / 2
    root = np.sqrt(apart**2 + matrix[:, 0, 1] * matrix[:, 1, 0])
    root = np.where(np.abs(root) > 1e-9 * np.abs(middle), root, 1e-9 * np.abs(middle))
    rows = matrix.sum(axis=2) - middle[:, None]
    found = np.empty(times_s.size)
    for place, time_s in enumerate(times_s):
        up, down = np.exp((middle + root) * time_s), np.exp((middle - root) * time_s)
        even, odd = (up + down) / 2, (up - down) / 2 / root
        first, second = even + odd * rows[:, 0], even + odd * rows[:, 1]
        total, power = ahead[:, count], second.copy()
        for busy in range(count - 1, -1, -1):  # Horner, in both
            total = total * first + ahead[:, busy] * power
            power *= second
        found[place] = float((weights / (1 - z) * total).real.sum()) / points
    return np.clip(found, 0.0, 1.0)


def _found_ahead(queue: MAPPHc, points: int, radius: float) -> np.ndarray:
    """Shares of the arrivals that find n waiting and i servers in the first phase, over radius^n."""
    phases = len(queue.arrivals[0])
    law, kept = queue.found_full, np.empty((points, queue.servers + 1))
    step = queue.ratio / radius
    for waiting in range(points):
        kept[waiting] = (law * queue.seen).reshape(phases, -1).sum(axis=0)
        law = law @ step
    return kept
