"""How hard the property tests try: chosen by HYPOTHESIS_PROFILE, "ci" where CI is set, else "dev"."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The first call of a numeric kernel compiles or starts threads: a deadline would measure that.
settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
# For tests of a wheel: what the wheel lacks shows with few examples.
settings.register_profile("wheel", max_examples=10, deadline=None, derandomize=True)
settings.register_profile(
    "nightly", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("gpu", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
