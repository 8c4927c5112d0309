"""One line of the page of measured errors beside those of the operators."""

from __future__ import annotations

from dataclasses import dataclass

U = 2.0**-53


@dataclass(frozen=True)
class Measured:
    """One quantity.

    Attributes
    ----------
    family, function, inputs, quantity : str
        What was measured, of what, on what.
    ours : float
    bound : float or None
        The a-priori bound on it; None where theory gives none.
    usual : str
        The way it is compared with.
    usual_value : float or None
    """

    family: str
    function: str
    inputs: str
    quantity: str
    ours: float
    bound: float | None
    usual: str = ""
    usual_value: float | None = None

    @property
    def of_bound(self) -> float | None:
        return None if not self.bound else self.ours / self.bound
