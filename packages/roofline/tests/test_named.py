"""Functions named on the command line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mfi_command import BadInput
from roofline.cli import app
from roofline.named import is_named, named_function

pytest.importorskip("torch")
CASE = """
import torch

def case():
    return torch.nn.Linear(8, 4), torch.empty(2, 8)

def wrong():
    return 3

number = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "layer_of_test_named.py"
    path.write_text(CASE)
    return path


def test_a_function_of_a_file_is_built_on_meta(file: Path) -> None:
    function, (x,) = named_function(f"{file}:case")
    assert x.device.type == "meta"
    assert function(x).shape == (2, 4)


def test_a_command_counts_it(file: Path) -> None:
    done = CliRunner().invoke(app, ["analyze", f"{file}:case", "--device", "H100", "--json"])
    assert done.exit_code == 0, done.output
    assert '"flop": 128' in done.stdout


def test_what_is_a_name(file: Path) -> None:
    assert is_named("layer.py:case")
    assert is_named("package.module:case")
    assert not is_named("opt-30b")
    assert not is_named(str(file))
    assert not is_named("C:\\\\models")


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent", "no function 'absent'"), ("number", "no function 'number'"), ("wrong", "returned int")],
)
def test_unusable_names(name: str, message: str, file: Path) -> None:
    with pytest.raises(BadInput, match=message):
        named_function(f"{file}:{name}")


def test_unusable_places(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        named_function("absent.py:case")
    with pytest.raises(BadInput, match="no such module"):
        named_function("absent_module_of_nobody:case")
    broken = tmp_path / "broken.py"
    broken.write_text("def (")
    with pytest.raises(BadInput, match="cannot be imported"):
        named_function(f"{broken}:case")
