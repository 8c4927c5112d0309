"""What verify makes of a row that passes, fails, breaks, cannot run, or is not built."""

from __future__ import annotations

import pytest

from mfi import verify
from mfi.checks import Outcome, Skip, check, registry
from mfi.checks.plan import PLAN


@pytest.fixture
def rows(monkeypatch):
    fresh: dict[str, registry.Row] = {}
    monkeypatch.setattr(registry, "ROWS", fresh)
    monkeypatch.setattr(verify, "load_rows", lambda: fresh)
    return fresh


def declare(id, compute):
    check(id, title="t", bound="< 1", unit="m")(compute)


def test_every_kind_of_row(rows):
    def broken():
        raise ArithmeticError("no inverse")

    def elsewhere():
        raise Skip("needs a GPU")

    declare("w01-vector-norm", lambda: Outcome(0.5, True, "fine"))
    declare("w02-decay", lambda: Outcome(2.0, False, "too big"))
    declare("w04-qr", broken)
    declare("w20-kernels", elsewhere)
    answers = {verdict.id: verdict for verdict in verify.verify()}
    assert list(answers) == list(PLAN)
    assert (answers["w01-vector-norm"].passed, answers["w01-vector-norm"].measured) == (True, 0.5)
    assert answers["w02-decay"].passed is False
    assert answers["w04-qr"].passed is False
    assert "ArithmeticError: no inverse (broken" in answers["w04-qr"].detail
    assert (answers["w20-kernels"].passed, answers["w20-kernels"].detail) == (None, "needs a GPU")
    assert answers["w20-kernels"].skipped
    assert answers["w31-mm1"].detail == verify.NOT_BUILT


def test_select_keeps_the_order_of_the_table():
    assert verify.select(["w09-*", "w01-vector-norm"]) == ["w01-vector-norm", "w09-float", "w09-accumulate"]
    assert verify.select([]) == list(PLAN)
    assert verify.select(["nothing"]) == []


def test_two_functions_for_one_row_is_refused(rows):
    declare("w04-qr", lambda: Outcome(1.0, True))
    with pytest.raises(RuntimeError, match="two checks claim the row w04-qr"):
        declare("w04-qr", lambda: Outcome(1.0, True))


def test_a_row_outside_the_table_is_refused(monkeypatch):
    monkeypatch.setitem(registry.ROWS, "w99-invented", registry.Row("w99-invented", "", "", "", lambda: None))
    with pytest.raises(RuntimeError, match="w99-invented"):
        verify.load_rows()
