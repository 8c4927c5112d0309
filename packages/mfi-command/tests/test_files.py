"""Whole or not at all, for files and directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mfi_command import BadInput, atomic_directory, atomic_file


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path):
    target = tmp_path / "x.json"
    target.write_text("old")
    with atomic_file(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.suffix == ".json"
        assert temporary.parent == tmp_path
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path: Path):
    target = tmp_path / "x.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(target) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_follows_the_umask(tmp_path: Path):
    old = os.umask(0o022)
    try:
        with atomic_file(tmp_path / "x") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_directory_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "model"
    with pytest.raises(ZeroDivisionError), atomic_directory(target) as temporary:
        (temporary / "a").write_text(f"half {(temporary / 'b').write_text('whole') / 0}")
    assert not list(tmp_path.iterdir())
    with atomic_directory(target) as temporary:
        (temporary / "a").write_text("whole")
    assert (target / "a").read_text() == "whole"


def test_a_filled_directory_is_refused_and_kept(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("kept")
    with pytest.raises(BadInput, match="not empty"), atomic_directory(tmp_path / "model"):
        pytest.fail("must not be entered")
    assert (tmp_path / "model" / "mine").read_text() == "kept"


@pytest.mark.parametrize("make", [atomic_file, atomic_directory])
def test_a_missing_parent_is_named(tmp_path: Path, make):
    with pytest.raises(BadInput, match="no directory"), make(tmp_path / "no" / "x"):
        pytest.fail("must not be entered")
