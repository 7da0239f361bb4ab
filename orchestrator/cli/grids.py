"""`yates plan`: what a grid would run, and what that costs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.plan import Plan

By = Annotated[str | None, typer.Option(help="Group by these factors: model,method.")]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command("plan", help="Show the experiments, stages and cost of a grid; nothing is run.")(plan)


def plan(
    grid: options.Grid,
    scale: options.Scale = None,
    preset: options.Preset = None,
    cells: options.Cells = None,
    where: options.Where = None,
    set_: options.Set = None,
    seeds: options.Seeds = None,
    hub_map: options.HubMap = None,
    by: By = None,
    workspace: options.Root = options.DEFAULT_ROOT,
    as_json: options.Json = False,
) -> None:
    """Print what `yates run` would do."""
    from orchestrator.summary import plan_summary, print_plan

    planned, _ = make_plan(grid, scale, preset, cells, where, set_, hub_map, seeds, workspace)
    summary = plan_summary(planned, [name.strip() for name in by.split(",")] if by else ())
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        print_plan(summary)


def make_plan(
    grid: Path,
    scale: str | None,
    preset: str | None,
    cells: str | None,
    where: str | None,
    overrides: list[str] | None,
    hub_map: Path | None,
    seeds: int | None = None,
    workspace: Path | None = None,
) -> "tuple[Plan, dict[str, str]]":
    """Load, expand and plan `grid`; return the plan and the hub map that it was made with.

    What was measured in `workspace`, where there is one, corrects what is expected.
    """
    from orchestrator.grid import load_grid
    from orchestrator.plan import plan_grid
    from results.layout import Workspace

    loaded = load_grid(
        grid, scale=scale, preset=preset, cells=cells, where=where, overrides=overrides or [], seeds=seeds
    )
    planned = plan_grid(loaded, hub_map, None if workspace is None else Workspace(workspace))
    return planned, planned.hub_map
