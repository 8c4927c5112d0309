"""Commands about number formats."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfi_command.cli import Report, Seed, Table, command
from stable_ops.commands.application import FORMAT_HELP, app


@command(
    app,
    name="format",
    examples=["stable-ops format fp16", "stable-ops format fp8_e4m3fn --json", "stable-ops format e6m9"],
)
def format_(name: Annotated[str, typer.Argument(metavar="F", help=FORMAT_HELP)]) -> Report:
    """Constants of a number format."""
    from stable_ops.fp import get_format

    constants = get_format(name).to_dict()
    # As text: rounded to a few digits these numbers would be wrong.
    rows = [[key, str(value)] for key, value in constants.items() if key != "format"]
    return Report(fields=constants, tables=[Table(str(constants["format"]), ["constant", "value"], rows)])


@command(app, examples=["stable-ops formats", "stable-ops formats --json"])
def formats() -> Report:
    """All number formats that have a name, and the block formats made of them."""
    from stable_ops.fp import BLOCK_FORMATS, FORMATS

    plain = [f.to_dict() for f in FORMATS.values()]
    blocks = [f.to_dict() for f in BLOCK_FORMATS.values()]
    columns = ["format", "bits", "specials", "eps", "max", "min_normal", "min_subnormal"]
    tables = [
        Table("Formats", columns, [[entry[key] for key in columns] for entry in plain]),
        Table("Block formats", list(blocks[0]), [list(entry.values()) for entry in blocks]),
    ]
    return Report(fields={"formats": plain, "block_formats": blocks}, tables=tables)


@command(
    app,
    name="round",
    examples=[
        "stable-ops round 0.1 --format fp16",
        "stable-ops round 1.99 --format e2m1 --rounding toward-zero",
    ],
)
def round_(
    value: Annotated[float, typer.Argument(help="A number; after -- if negative.")],
    format: Annotated[str, typer.Option(help=FORMAT_HELP)] = "fp16",
    rounding: Annotated[str, typer.Option(help="nearest, toward-zero or stochastic.")] = "nearest",
    seed: Seed = 0,
) -> Report:
    """Round a number once to a format, and say what that costs."""
    import math

    from stable_ops.fp import get_format, round_to, ulp

    target = get_format(format)
    options: dict[str, Any] = {"rounding": rounding, "seed": seed}
    rounded = round_to(value, target, **options)
    unit = ulp(value, target)
    error = rounded - value
    fields = {
        "value": value,
        "rounded": rounded,
        "ulp": unit,
        "error_ulp": 0.0 if rounded == value else abs(error) / unit if math.isfinite(error) else math.inf,
        "format": target.name,
    }
    rows = [[key, str(fields[key])] for key in ("value", "rounded", "ulp", "error_ulp")]
    return Report(fields=fields, tables=[Table(f"{value:g} in {target.name}, {rounding}", ["", ""], rows)])
