"""A limit on the grades, for continuous integration."""

from __future__ import annotations

from mfi_command import BadInput
from quant_risk_analyzer.report import RiskReport

WORSE = {"B": ("B", "C"), "C": ("C",)}


def check_grade(grade: str | None) -> None:
    """BadInput unless the grade is B, C or None."""
    if grade is not None and grade not in WORSE:
        raise BadInput(f"--fail-on {grade}: expected B or C")


def over_limit(report: RiskReport, grade: str | None) -> str | None:
    """A sentence naming the layers with `grade` or a worse one; None when there are none, or no limit."""
    check_grade(grade)
    if grade is None:
        return None
    names = sorted({name for each in WORSE[grade] for name in report.graded(each)})
    if not names:
        return None
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} layers are rated {grade} or worse: {', '.join(names[:3])}{rest}"
