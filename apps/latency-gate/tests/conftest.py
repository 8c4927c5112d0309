"""A gate file with one model, a configuration in the layout of Hugging Face."""

from functools import partial

import pytest

from latency_predictor.gate import testing


@pytest.fixture
def write_gate(tmp_path):
    """Write gate.toml with a text beside a configuration; give its path."""
    return partial(testing.write_gate, tmp_path)


@pytest.fixture
def entry():
    """The text of a [[model]] table with the budget given."""
    return testing.entry
