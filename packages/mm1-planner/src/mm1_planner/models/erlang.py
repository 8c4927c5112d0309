"""Erlang's two formulas, from which every queue with c servers is built."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from mm1_planner.inputs import positive, whole

_BLOCK = 1 << 15


def slack_per_s(arrival_rate_per_s: float, service_rate_per_s: float, servers: int) -> float:
    r"""Spare capacity $c\mu - \lambda$, rounded once.

    The plain float expression loses digits in proportion to $1/(1-\rho)$; rational arithmetic does not.
    """
    return float(servers * Fraction(service_rate_per_s) - Fraction(arrival_rate_per_s))


def erlang_b(offered_load: float, servers: int) -> float:
    r"""Probability that a customer finds all `servers` busy where none may wait (M/M/c/c).

    $$ \frac1B = \sum_{j=0}^{c} \prod_{i=0}^{j-1}\frac{c-i}{a} $$

    The terms are positive, so nothing cancels: the relative error stays below about $c\,2^{-53}$, which is
    1.2e-11 at c = 1e5. A probability below 1e-308 is returned as zero. Cost O(c), vectorised.

    Parameters
    ----------
    offered_load : float
        $a = \lambda/\mu$, in servers (erlang).
    servers : int
        $c \ge 1$.

    Raises
    ------
    BadInput
        If the load is not positive and finite or the servers are not a whole number up to 1e6.

    Notes
    -----
    The recursion $1/B_c = 1 + (c/a)/B_{c-1}$ unrolled; Cooper, Introduction to Queueing Theory, section 3.3.

    Examples
    --------
    >>> round(erlang_b(1.0, 2), 12)
    0.2
    """
    load, count = positive("offered load", offered_load, largest=1e15), whole("servers", servers)
    total, term, used = 1.0, 1.0, 0
    with np.errstate(over="ignore", under="ignore"):
        while used < count and term > 0 and np.isfinite(total):
            block = min(_BLOCK, count - used)
            terms = term * np.cumprod((count - used - np.arange(block)) / load)
            total, term, used = total + float(terms.sum()), float(terms[-1]), used + block
    return 1.0 / total


def erlang_c(offered_load: float, servers: int) -> float:
    r"""Probability that a customer has to wait in M/M/c; 1 where the load is at least the servers.

    $$ C = \frac{B}{(1-\rho) + \rho B}, \qquad \rho = a/c $$

    Parameters, cost, and errors raised as for `erlang_b`; the error bound is the same plus that of
    $1-\rho$, which is exact here for the float `offered_load`.

    Examples
    --------
    >>> round(erlang_c(1.0, 2), 12)
    0.333333333333
    """
    load, count = positive("offered load", offered_load, largest=1e15), whole("servers", servers)
    return wait_probability(load, 1.0, count)


def wait_probability(arrival_rate_per_s: float, service_rate_per_s: float, servers: int) -> float:
    """Erlang C from the two rates, so that the spare share is rounded only once."""
    slack = slack_per_s(arrival_rate_per_s, service_rate_per_s, servers)
    if slack <= 0:
        return 1.0
    capacity = servers * service_rate_per_s
    blocked = erlang_b(arrival_rate_per_s / service_rate_per_s, servers)
    return blocked / (slack / capacity + arrival_rate_per_s / capacity * blocked)
