"""One measurement of this machine for all tests: it takes seconds."""

import pytest

from roofline import Measurement, measure


@pytest.fixture(scope="session")
def ceilings() -> Measurement:
    """The ceilings of this machine."""
    return measure(seconds=0.5)
