"""`yates run`, `submit`, `status`, `resume`, `cancel`, `why`, `logs`: the life of a grid in a workspace."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.grids import make_plan
from results.layout import Workspace

if TYPE_CHECKING:
    from orchestrator.view import Experiment, View

Release = Annotated[bool, typer.Option("--release", help="Try again also what failed for good or is held.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait with a live display, or return at once.")]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command("run", help="Plan a grid, run it on this machine, wait, and print the summary.")(run)
    app.command("submit", help="Hand a whole grid to a backend and return at once.")(submit)
    app.command("status", help="How far everything is, what is held, and why.")(status)
    app.command("resume", help="Take up exactly what is unfinished, from its newest complete checkpoint.")(
        resume
    )
    app.command("cancel", help="Stop the selected experiments; what others need goes on.")(cancel)
    app.command("why", help="One sentence: what an experiment waits for or died of, and what would mend it.")(
        why
    )
    app.command("logs", help="What the workers of an experiment printed.")(logs)


def run(
    grid: options.Grid,
    workspace: options.Root = options.DEFAULT_ROOT,
    scale: options.Scale = None,
    preset: options.Preset = None,
    cells: options.Cells = None,
    where: options.Where = None,
    set_: options.Set = None,
    hub_map: options.HubMap = None,
) -> None:
    """Plan, submit to this machine, wait, summarise."""
    place, experiments = _submit(grid, workspace, scale, preset, cells, where, set_, hub_map, "local")
    _wait_and_exit(place, experiments)


def submit(
    grid: options.Grid,
    workspace: options.Root = options.DEFAULT_ROOT,
    on: options.On = "local",
    scale: options.Scale = None,
    preset: options.Preset = None,
    cells: options.Cells = None,
    where: options.Where = None,
    set_: options.Set = None,
    hub_map: options.HubMap = None,
) -> None:
    """Hand the grid to a backend."""
    place, experiments = _submit(grid, workspace, scale, preset, cells, where, set_, hub_map, on)
    typer.echo(
        f"{len(experiments)} experiments are in {place.root}; `yates status -w {place.root}` follows them"
    )


def status(
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    as_json: options.Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the display up to date; Ctrl-C leaves the run alone.")
    ] = False,
) -> None:
    """Print or follow the state of the workspace."""
    from orchestrator.summary import print_status, status_summary

    view = _view(options.open_workspace(workspace))
    experiments = _selected(view, where)
    if watch:
        from orchestrator.progress import follow

        follow(view, [one.id for one in experiments], until_idle=False)
    elif as_json:
        typer.echo(json.dumps(status_summary(view, experiments), indent=2))
    else:
        print_status(view, experiments)


def resume(
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    on: options.On = "local",
    release: Release = False,
    wait: Wait = True,
) -> None:
    """Submit what is unfinished."""
    from orchestrator.resume import resume as resume_experiments

    view = _view(options.open_workspace(workspace))
    experiments = _selected(view, where)
    resume_experiments(view, experiments, on, release)
    if wait:
        _wait_and_exit(view.workspace, [one.id for one in experiments])


def cancel(workspace: options.Root = options.DEFAULT_ROOT, where: options.Where = None) -> None:
    """Stop the selected experiments."""
    from orchestrator.cancel import cancel as cancel_experiments

    view = _view(options.open_workspace(workspace))
    experiments = _selected(view, where)
    stages = cancel_experiments(view, experiments)
    typer.echo(
        f"{len(stages)} stages of {len(experiments)} experiments are cancelled; `yates resume` lifts that"
    )


def why(experiment: str, workspace: options.Root = options.DEFAULT_ROOT) -> None:
    """Explain one experiment."""
    from orchestrator.why import explain

    view = _view(options.open_workspace(workspace))
    typer.echo(explain(view, view.find(experiment)))


def logs(
    experiment: str,
    workspace: options.Root = options.DEFAULT_ROOT,
    lines: Annotated[int, typer.Option(help="How many of the last lines of each log.")] = 40,
) -> None:
    """Print the ends of the logs of the workers that ran an experiment's stages."""
    from orchestrator.logs import log_files

    view = _view(options.open_workspace(workspace))
    for path in log_files(view, view.find(experiment)):
        typer.echo(f"==> {path} <==")
        typer.echo("\n".join(path.read_text(errors="replace").splitlines()[-lines:]))


def _submit(
    grid: Path,
    workspace: Path,
    scale: str | None,
    preset: str | None,
    cells: str | None,
    where: str | None,
    overrides: list[str] | None,
    hub_map: Path | None,
    backend: str,
) -> tuple[Workspace, list[str]]:
    """Plan and submit; return the workspace and the ids of the experiments."""
    from cluster.backend import find_backend
    from orchestrator.submit import submit_plan

    chosen = find_backend(backend)
    planned, mapping = make_plan(grid, scale, preset, cells, where, overrides, hub_map)
    place = options.make_workspace(workspace)
    submit_plan(place, planned, chosen, mapping)
    return place, [one.id for one in planned.experiments]


def _view(workspace: Workspace) -> "View":
    from cluster.code import current_code
    from orchestrator.view import View

    return View(workspace, current_code())


def _selected(view: "View", where: str | None) -> "list[Experiment]":
    """The experiments that `where` holds for; a condition that holds for none is a mistake."""
    from orchestrator.selection import chooser, none_selected

    everything = list(view.experiments.values())
    if where is None:
        return everything
    chosen = chooser(where, (one.factors for one in everything))
    selected = [one for one in everything if chosen(one.factors)]
    if not selected:
        raise none_selected(where)
    return selected


def _wait_and_exit(workspace: Workspace, experiments: list[str]) -> None:
    """Follow the run to its end, fold it into the store, print the summary, and exit with its code."""
    from orchestrator.progress import follow
    from orchestrator.summary import print_outcome
    from results.store import compact_fully

    view = _view(workspace)
    interrupted = follow(view, experiments, until_idle=True)
    if interrupted:
        typer.echo("stopped; every worker saves a checkpoint and ends. `yates resume` goes on from there")
        sys.exit(130)
    compact_fully(workspace)
    sys.exit(print_outcome(view, experiments))
