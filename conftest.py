"""How hard the property tests try: chosen by HYPOTHESIS_PROFILE, "ci" where CI is set, else "dev"."""

from __future__ import annotations

import os
from itertools import groupby

import pytest
from hypothesis import HealthCheck, settings

# The first call of a numeric kernel compiles or starts threads: a deadline would measure that.
settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True)
# For tests of a wheel: what the wheel lacks shows with few examples.
settings.register_profile("wheel", max_examples=10, deadline=None, derandomize=True)
settings.register_profile(
    "nightly", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("gpu", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

_OF_A_FILE = 3


@pytest.hookimpl(trylast=True)  # after the marks have chosen
def pytest_collection_modifyitems(config, items):
    """With MFI_TESTS=brief, of each file three functions and of each function one case.

    What a wheel lacks, a module, a file or a dependency, shows where it is first asked for.
    """
    if os.environ.get("MFI_TESTS") != "brief":
        return
    kept = []
    for _, of_file in groupby(items, key=lambda item: item.path):
        functions: dict = {}
        for item in of_file:
            functions.setdefault(getattr(item, "originalname", item.name), item)
        kept += list(functions.values())[:: -(-len(functions) // _OF_A_FILE)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
