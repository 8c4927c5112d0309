"""The GPU's stopwatch with a clock of our own: what is timed, in which order, and against what."""

import time
from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from stable_ops.bench import read, timing  # noqa: E402
from stable_ops.bench.accuracy import truth  # noqa: E402
from stable_ops.bench.cases import Point  # noqa: E402
from stable_ops.bench.peers import Absent, Variant  # noqa: E402

ELEMENTS = 2**16
SECONDS = {"slow": 4e-3, "fast": 1e-3, "copy": 2e-3, "read": 5e-4}


@dataclass
class Event:
    """What `torch.cuda.Event` answers, of the clock of this file."""

    now_s: float = 0.0

    def record(self):
        self.now_s = CLOCK.now_s

    def elapsed_time(self, other):
        return 1e3 * (other.now_s - self.now_s)


class Clock:
    """Time that passes only where a kernel runs."""

    def __init__(self):
        self.now_s = 0.0
        self.calls = []

    def run(self, name, y):
        self.now_s += SECONDS[name]
        self.calls.append(name)
        return y


CLOCK = Clock()


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    CLOCK.__init__()
    monkeypatch.setattr(timing, "DEVICE", "cpu")
    monkeypatch.setattr(timing, "FLUSH_BYTES", 64)
    monkeypatch.setattr(timing, "_event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(read, "BLOCKS", ())
    monkeypatch.setattr(timing, "variant", build)
    monkeypatch.setattr(
        timing, "_reading", lambda base, flush: Variant("read", lambda x: CLOCK.run("read", x))
    )
    monkeypatch.setattr(torch.Tensor, "copy_", lambda self, other: CLOCK.run("copy", self))


def build(backend, op, dtype):
    if backend == "missing":
        raise Absent("has no such operator")
    return Variant(backend, lambda *x: CLOCK.run(backend, truth(op, *x).to(getattr(torch, dtype))))


def measured(op="softmax", backends=("slow", "fast"), calls=4):
    point = Point(op, ELEMENTS // 1024, 1024, "bfloat16")
    prepared = timing.prepare([point], backends, elements=ELEMENTS)
    CLOCK.calls.clear()
    return timing.measure(prepared, elements=ELEMENTS, calls=calls)


def test_medians_and_shares():
    report = measured()
    seconds = {row.backend: row.median_s for row in report.rows}
    assert seconds == pytest.approx({"slow": 4e-3, "fast": 1e-3})
    shares = {row.backend: row.of_copy for row in report.rows}
    assert shares == pytest.approx({"slow": 0.5, "fast": 2.0})
    assert all(row.of_read is None for row in report.rows)
    assert report.copy_gb_per_s == pytest.approx({"softmax 64x1024 bfloat16": 4 * ELEMENTS / 2e-3 / 1e9})


def test_a_reduction_is_measured_against_reading():
    (row,) = measured("logsumexp", ["fast"]).rows
    moved = 2 * ELEMENTS + 2 * 64
    assert row.of_read == pytest.approx(moved / 1e-3 / (2 * ELEMENTS / 5e-4))


def test_kernels_take_turns_in_an_order_that_shifts():
    measured(calls=3)
    warm_up = 2 * 3
    rounds = CLOCK.calls[warm_up:]
    assert [rounds[i : i + 3] for i in (0, 3, 6)] == [
        ["copy", "slow", "fast"],
        ["slow", "fast", "copy"],
        ["fast", "copy", "slow"],
    ]


def test_the_cache_is_flushed_outside_the_timed_part(monkeypatch):
    def flushed(self):
        CLOCK.now_s += 1.0
        return self

    monkeypatch.setattr(torch.Tensor, "zero_", flushed)
    assert {row.backend: row.median_s for row in measured().rows} == pytest.approx(
        {"slow": 4e-3, "fast": 1e-3}
    )
    assert CLOCK.now_s > 3 * 4


def test_one_hiccup_does_not_count():
    def hiccup(x):
        CLOCK.now_s += 9.0 if CLOCK.calls.count("fast") == 3 else 0.0
        CLOCK.run("fast", x)

    medians = timing._in_turn([(Variant("fast", hiccup), [(1,)])], torch.zeros(1), 5)
    assert medians == pytest.approx({"fast": 1e-3})


def test_inputs_rotate():
    seen = []
    entry = (Variant("fast", lambda x: seen.append(x)), [(i,) for i in range(3)])
    timing._in_turn([entry], torch.zeros(1), 6)
    assert seen[2:] == [0, 1, 2, 0, 1, 2]


def test_what_cannot_run_is_told(monkeypatch):
    report = measured(backends=("missing", "fast"))
    assert [(a.backend, a.reason, a.failed) for a in report.absent] == [
        ("missing", "has no such operator", False)
    ]
    monkeypatch.setattr(timing, "LONGEST_CALL_S", 0.01)
    monkeypatch.setattr(
        timing, "variant", lambda backend, op, dtype: Variant(backend, lambda x: time.sleep(0.02))
    )
    assert "not timed: a call took" in measured(backends=("slow",)).absent[0].reason


def wrong_in_the_last_row(x):
    y = truth("softmax", x).to(x.dtype)
    y[-1] = y[0]
    return y


@pytest.mark.parametrize("kernel", [lambda x: x * torch.nan, torch.zeros_like, wrong_in_the_last_row])
def test_what_answers_wrongly_is_not_timed(monkeypatch, kernel):
    monkeypatch.setattr(timing, "variant", lambda backend, op, dtype: Variant(backend, kernel))
    (absent,) = measured(backends=["fast"]).absent
    assert (absent.failed, absent.reason) == (True, "ArithmeticError: wrong results")


def test_operands_of_each_operator(monkeypatch):
    monkeypatch.setattr(timing, "_ROTATED_BYTES", 2**24)
    pool = timing.Pool("bfloat16", ELEMENTS)
    for op, count in (("softmax", 1), ("layer_norm", 3), ("rms_norm", 2), ("swiglu", 2)):
        sets = pool.sets(Point(op, 64, 1024, "bfloat16"))
        assert len(sets) == timing.SETS
        assert {len(operands) for operands in sets} == {count}
        assert len({operands[0].data_ptr() for operands in sets}) == timing.SETS
    logits = timing.Pool("float32", ELEMENTS).sets(Point("top_p", 64, 2**13, "float32"))
    assert len(logits) == 2**24 // 2**21
    logits = timing.Pool("float32", ELEMENTS).sets(Point("top_p", 64, 2**16, "float32"))
    assert len(logits) == 2
