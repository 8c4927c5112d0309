"""Run by test_sampling_kernels.py with TRITON_INTERPRET=1: the kernels on CPU tensors against the definition.

The pieces, lists and samples are small, so that rows of a thousand elements are long ones.
"""

import sys
import warnings

import numpy as np
import torch

import stable_ops
from stable_ops.ops.triton import sampling
from stable_ops.ops.triton.sampling_whole import DONE, PENDING, REFUSED, UNDECIDED

warnings.simplefilter("ignore")  # NaN and infinity are meant here, and numpy warns of them
rng = np.random.default_rng(0)
SMALL = sampling.Sizes(short=200, piece=256, sample=128, list=512, wide=512)
NONE = {"temperature": 1.0, "top_k": None, "top_p": None, "min_p": None, "seed": 0, "offset": 0}
share_rows = sampling._share_rows
seen = []


def watch(task, sizes):
    """What the lists alone could answer."""
    share_rows(task, SMALL)
    seen.extend(task.status.tolist())


def drawn(x, *, size=None, check=True, **options):
    return sampling.sample(torch.from_numpy(x), NONE | options, size=size, check=check)


def rows(kind, count, n):
    x = (3 * rng.standard_normal((count, n))).astype(np.float32)
    if kind == "ties":
        x = np.round(x)
    elif kind == "equal":
        x[:] = 7
    elif kind == "masked":
        x[rng.random(x.shape) < 0.5] = -np.inf
        x[:, n // 3] = 1
    elif kind == "peak":
        x[:, n // 2] = 30
    elif kind == "flat":
        x /= 10
    return x


def compare(x, **options):
    np.testing.assert_array_equal(drawn(x, **options).numpy(), stable_ops.sample(x, **options), str(options))
    return len(x)


def short_rows(thorough):
    each = {"temperature": np.array([2.0, 0.0, 0.1, 1e-40, 1e200]), "seed": np.arange(5), "offset": 2**33 + 7}
    cases = compare(rows("ties", 2, 60), top_k=30, top_p=0.8, min_p=0.05)
    cases += compare(rows("masked", 2, 60), top_p=np.array([0.0, 1.0]), seed=np.array([5, 6]))
    # Half of the mass of four equal tokens is two tokens or three: float64 must not say.
    packed = sampling._pack((1,), NONE | {"top_p": 0.5}, torch.device("cpu"), True)[1]
    _, status = sampling.launch(torch.ones(1, 4), packed, own_stream=False, filtered=False)
    assert status.tolist() == [UNDECIDED.value]
    if thorough:
        for n in (1, 2, 300):
            for kind in ("ties", "equal", "masked", "peak"):
                cases += compare(rows(kind, 5, n), **each, top_p=np.linspace(0, 1, 5))
        cases += compare(rows("flat", 2, 60), top_k=7, size=9)
    return cases


def long_rows(thorough):
    """Each way through: from the lists; from the row where a list is too long; from the CPU."""
    own = {"temperature": np.array([0.1, 8.0]), "seed": np.array([3, 4])}
    trials = [
        (1, "random", {"top_p": 0.9}, {DONE}),
        (1, "masked", {"top_k": 9, "top_p": 0.9, "min_p": 0.05}, {DONE}),
        (1, "equal", {"top_p": 0.55}, {PENDING}),
    ]
    if thorough:
        trials += [
            (2, "random", {"top_p": 0.0}, {DONE}),
            (2, "random", {}, {DONE}),
            (2, "random", {"temperature": 0}, {DONE}),
            (2, "ties", {"top_p": 0.7}, {DONE, PENDING}),
            (2, "peak", {"top_p": 0.99, **own}, {DONE}),
            (2, "flat", {"min_p": 0.01}, {PENDING}),
            (2, "random", {"temperature": 1e-40}, {DONE, UNDECIDED, PENDING}),
        ]
    cases = 0
    for count, kind, options, ways in trials:
        seen.clear()
        cases += compare(rows(kind, count, 1000), **options)
        assert len(seen) == count
        assert set(seen) <= {way.value for way in ways}, (kind, options, seen)
    return cases


def refusals(thorough):
    x = rows("random", 2, 1000)
    x[0, 5], x[1] = np.nan, -np.inf
    assert drawn(x if thorough else x[:1], check=False, top_p=0.9).tolist()[0] == -1
    assert seen[-1] == REFUSED.value
    for bad, message in (
        (np.nan, "row 1 of the logits holds NaN"),
        (np.inf, "row 1 of the logits holds +inf"),
    ):
        x = rows("random", 2, 50)
        x[1, 7] = bad
        try:
            drawn(x, top_k=1)
        except ValueError as error:
            refused = str(error)
        assert refused.startswith(message), refused
    return 3


sampling._share_rows = watch
sampling.LARGE = SMALL
thorough = "thorough" in sys.argv
print(f"{short_rows(thorough) + long_rows(thorough) + refusals(thorough)} cases passed")
