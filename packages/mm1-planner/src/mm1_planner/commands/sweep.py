"""`mm1-planner sweep`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from mfi_command.cli import Report, Seed, Table, command, progress
from mm1_planner.commands.options import app


@command(
    app,
    examples=[
        "mm1-planner sweep --arrival-rate 5/s,10/s --service exp:0.3,det:0.3 --servers 4..8",
        "mm1-planner sweep --arrival-rate 10 --arrivals poisson,gamma:3 --service exp:0.3 --servers 4..8 "
        "--executor processes --store results",
        "mm1-planner sweep --formula --arrival-rate 10 --service exp:0.3 --servers 4..40 --output sweep.csv",
    ],
)
def sweep(
    arrival_rate: Annotated[str, typer.Option(help="Rates, divided by commas: 5/s,10/s.")],
    service: Annotated[str, typer.Option(help="Laws, divided by commas: exp:0.3,det:0.3.")],
    servers: Annotated[str, typer.Option(help="Numbers, divided by commas; 4..8 is each from 4 to 8.")],
    arrivals: Annotated[str, typer.Option(help="poisson, gamma:CV, ..., divided by commas.")] = "poisson",
    customers: Annotated[int | None, typer.Option(help="Customers simulated; automatic by default.")] = None,
    formula: Annotated[bool, typer.Option("--formula", help="By formula alone, all at once.")] = False,
    executor: Annotated[str, typer.Option(help="serial, processes or ray.")] = "serial",
    workers: Annotated[int | None, typer.Option(help="Simulations at a time; one a core by default.")] = None,
    store: Annotated[
        Path | None, typer.Option(help="Folder of Parquet files; what it holds is not simulated again.")
    ] = None,
    seed: Seed = 0,
) -> Report:
    """Every combination of rates, laws and servers, simulated on every core or on Ray; resumable."""
    from mm1_planner.inputs import parse_rate_per_s
    from mm1_planner.sweeps.simulated import grid
    from mm1_planner.sweeps.simulated import sweep as run
    from mm1_planner.sweeps.store import ParquetStore

    rates = [parse_rate_per_s("arrival rate", each) for each in arrival_rate.split(",")]
    laws, counts = [each.strip() for each in service.split(",")], _counts(servers)
    if formula:
        rows = _by_formula(rates, laws, counts)
    else:
        asked: dict[str, list[Any]] = {
            "arrival_rate_per_s": rates,
            "arrivals": [each.strip() for each in arrivals.split(",")],
            "service": laws,
            "servers": counts,
            "seed": [seed],
        }
        configurations = grid(**asked | ({"customers": [customers]} if customers is not None else {}))
        kept = nullcontext(None) if store is None else ParquetStore(store)
        with progress("simulations") as tick, kept as rows_kept:
            rows = run(configurations, executor=executor, workers=workers, store=rows_kept, on_progress=tick)
    names = ["arrival_rate_per_s", "service", "servers", "mean_wait_s", "p99_wait_s", "p99_sojourn_s"]
    if len({row.get("arrivals", "poisson") for row in rows}) > 1:
        names.insert(1, "arrivals")
    table = Table(f"{len(rows)} configurations", names, [[row.get(name) for name in names] for row in rows])
    notes = [] if store is None or formula else [f"every number is in {store}, as Parquet"]
    return Report({"rows": rows}, [table], notes)


def _counts(text: str) -> list[int]:
    from mfi_command import BadInput
    from mm1_planner.inputs import whole

    counts: list[int] = []
    for part in text.split(","):
        low, dots, high = part.strip().partition("..")
        try:
            first = whole("servers", int(low))
            last = whole("servers", int(high)) if dots else first
        except ValueError as error:
            raise (
                error
                if isinstance(error, BadInput)
                else BadInput(f"servers {part!r} are not understood; expected numbers such as 4,6 or 4..8")
            ) from None
        counts += range(first, last + 1)
    if not counts:
        raise BadInput(f"servers {text!r} hold no number; expected such as 4,6 or 4..8")
    return counts


def _by_formula(rates: list[float], laws: list[str], counts: list[int]) -> list[dict[str, Any]]:
    import itertools

    import numpy as np

    from mm1_planner.service import parse_service
    from mm1_planner.sweeps.closed_form import sweep_formula

    parsed = {law: parse_service(law) for law in laws}
    asked = list(itertools.product(rates, laws, counts))
    found = sweep_formula(
        np.array([rate for rate, _, _ in asked]),
        np.array([parsed[law].mean_s for _, law, _ in asked]),
        np.array([count for _, _, count in asked]),
        np.array([parsed[law].scv for _, law, _ in asked]),
    )
    columns = {name: values.tolist() for name, values in found.items()}
    return [
        {"arrival_rate_per_s": rate, "service": law, "servers": count}
        | {name: values[index] for name, values in columns.items()}
        for index, (rate, law, count) in enumerate(asked)
    ]
