"""`__all__` is what the package offers, and nothing else is public."""

import types

import quant_risk_analyzer


def test_all_is_the_public_api():
    public = {
        name
        for name, value in vars(quant_risk_analyzer).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(quant_risk_analyzer.__all__)
    assert all(getattr(quant_risk_analyzer, name).__doc__ for name in public - {"FORMATS"})
