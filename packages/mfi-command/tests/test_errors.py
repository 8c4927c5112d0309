"""A missing extra is named; a broken module is not mistaken for a missing one."""

from __future__ import annotations

import math

import pytest

from mfi_command import BadInput, require


def test_require_gives_the_module():
    assert require("math", extra="x", distribution="y") is math


def test_require_names_the_extra():
    with pytest.raises(BadInput, match=r"pip install 'some-tool\[torch\]'"):
        require("no_such_module_here", extra="torch", distribution="some-tool")


def test_a_broken_module_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("import its_own_missing_need")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="its_own_missing_need"):
        require("broken_module", extra="x", distribution="y")
