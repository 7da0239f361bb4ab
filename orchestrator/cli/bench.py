"""`yates bench`: what one step of each stage of a grid takes on this machine."""

import json
from typing import Annotated

import typer

from orchestrator.cli import options

Steps = Annotated[int, typer.Option(min=2, help="Steps of each training; the first one warms up.")]


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command line."""
    app.command(
        "bench",
        help="Measure a few steps of each stage of a grid on this machine, beside the plan's figures.",
    )(bench)


def bench(
    grid: options.Grid,
    scale: options.Scale = None,
    preset: options.Preset = None,
    cells: options.Cells = None,
    where: options.Where = None,
    set_: options.Set = None,
    hub_map: options.HubMap = None,
    steps: Steps = 3,
    as_json: options.Json = False,
) -> None:
    """Run the costliest stage under each name of the pipeline, cut short, and print what it took."""
    from orchestrator.bench.report import run_bench
    from orchestrator.bench.table import print_bench
    from orchestrator.cli.grids import make_plan

    planned, _ = make_plan(grid, scale, preset, cells, where, set_, hub_map)
    rows = run_bench(planned, steps)
    if as_json:
        typer.echo(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        print_bench(rows, len(planned.experiments))
