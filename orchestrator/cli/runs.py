"""`yates run`, `submit`, `status`, `resume`, `cancel`, `why`, `logs`: the life of a grid in a workspace."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.grids import make_plan
from orchestrator.cli.paying import MaxJudgeCost, ask_before_paying
from results.files import WorkspaceError
from results.layout import Workspace

if TYPE_CHECKING:
    from cluster.backend import Backend
    from orchestrator.plan import Plan
    from orchestrator.view import Experiment, View
    from workers.submission import Submission

Release = Annotated[bool, typer.Option("--release", help="Try again also what failed for good or is held.")]
Canary = Annotated[
    bool,
    typer.Option("--canary", help="Run one experiment of each kind first, the rest when they are through."),
]
MaxGpuHours = Annotated[float | None, typer.Option(help="Ask before submitting more GPU-hours than these.")]
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
    seeds: options.Seeds = None,
    hub_map: options.HubMap = None,
    canary: Canary = False,
    max_judge_cost: MaxJudgeCost = None,
) -> None:
    """Plan, submit to this machine, wait, summarise."""
    from cluster.backend import find_backend
    from orchestrator.submit import submit_plan

    planned, mapping = make_plan(grid, scale, preset, cells, where, set_, hub_map, seeds, workspace)
    _say_advice(planned)
    ask_before_paying(planned, Workspace(workspace), max_judge_cost, here=True)
    place, backend = options.make_workspace(workspace), find_backend("local")
    if canary:
        submit_plan(place, planned, backend, mapping, canary=True)
        _wait_for_trial(place, [one.id for one in planned.experiments])
    submit_plan(place, planned, backend, mapping)
    _wait_and_exit(place, [one.id for one in planned.experiments])


def submit(
    grid: options.Grid,
    workspace: options.Root = options.DEFAULT_ROOT,
    on: options.On = "local",
    profile: options.Profile = None,
    address: options.Address = None,
    scale: options.Scale = None,
    preset: options.Preset = None,
    cells: options.Cells = None,
    where: options.Where = None,
    set_: options.Set = None,
    seeds: options.Seeds = None,
    hub_map: options.HubMap = None,
    canary: Canary = False,
    max_gpu_hours: MaxGpuHours = None,
    max_judge_cost: MaxJudgeCost = None,
) -> None:
    """Hand the grid to a backend."""
    from orchestrator.backends import choose_backend
    from orchestrator.submit import submit_plan

    if canary and on == "local":
        raise WorkspaceError("--canary: on this machine use `yates run --canary`, which waits for the trial")
    backend = choose_backend(Workspace(workspace), on, profile, address, fresh=True)
    if canary and not backend.settings().get("tail", True):
        raise WorkspaceError(
            "--canary needs the tail job, which submits the rest; the profile says `tail: false`"
        )
    planned, mapping = make_plan(grid, scale, preset, cells, where, set_, hub_map, seeds, workspace)
    _say_advice(planned)
    limit = max_gpu_hours or backend.settings().get("max_gpu_hours")
    _ask_above(limit, planned.gpu_hours)
    ask_before_paying(planned, Workspace(workspace), max_judge_cost, here=on == "local")
    place = options.make_workspace(workspace)
    _say_submitted(backend, place, submit_plan(place, planned, backend, mapping, canary))
    typer.echo(
        f"{len(planned.experiments)} experiments are in {place.root}; "
        f"`yates status -w {place.root}` follows them"
    )


def status(
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    as_json: options.Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the display up to date; q or Ctrl-C leaves the run alone.")
    ] = False,
) -> None:
    """Print or follow the state of the workspace."""
    from orchestrator.summary import print_status, status_summary

    view = _view(options.open_workspace(workspace))
    experiments = _selected(view, where)
    if watch and sys.stdout.isatty():
        from orchestrator.watch.loop import watch as watch_screen

        watch_screen(view, [one.id for one in experiments])
    elif watch:
        from orchestrator.progress import follow

        follow(view, [one.id for one in experiments], until_idle=False)
    elif as_json:
        typer.echo(json.dumps(status_summary(view, experiments), indent=2))
    else:
        print_status(view, experiments)


def resume(
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    on: options.OnAgain = None,
    profile: options.Profile = None,
    address: options.Address = None,
    release: Release = False,
    wait: Wait = True,
) -> None:
    """Submit what is unfinished, to where it was last submitted unless --on says otherwise.

    On this machine it waits; a cluster's jobs are left to themselves.
    """
    from orchestrator.backends import choose_backend
    from orchestrator.resume import resume as resume_experiments

    view = _view(options.open_workspace(workspace))
    experiments = _selected(view, where)
    backend = choose_backend(view.workspace, on, profile, address)
    submission = resume_experiments(view, experiments, backend, release)
    if backend.name != "local":
        _say_submitted(backend, view.workspace, submission)
    elif wait:
        _wait_and_exit(view.workspace, [one.id for one in experiments])


def cancel(workspace: options.Root = options.DEFAULT_ROOT, where: options.Where = None) -> None:
    """Stop the selected experiments."""
    from orchestrator.backends import used_backends
    from orchestrator.cancel import cancel as cancel_experiments

    view = _view(options.open_workspace(workspace))
    experiments = _selected(view, where)
    stages = cancel_experiments(view, experiments)
    jobs = sum(backend.cancel(view.workspace, set(stages)) for backend in used_backends(view.workspace))
    waiting = f" ({jobs} waiting jobs with them)" if jobs else ""
    typer.echo(
        f"{len(stages)} stages of {len(experiments)} experiments are cancelled{waiting}; "
        "`yates resume` lifts that"
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
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print on, until Ctrl-C.")] = False,
) -> None:
    """Print the ends of the logs of the workers that ran an experiment's stages."""
    from orchestrator.logs import follow_logs, log_files, tail_of

    view = _view(options.open_workspace(workspace))
    chosen = view.find(experiment)
    for path in log_files(view, chosen):
        typer.echo(f"==> {path} <==")
        typer.echo(tail_of(path, lines))
    if follow:
        for text in follow_logs(view, chosen):
            typer.echo(text, nl=False)


def _say_advice(planned: "Plan") -> None:
    """Say what was left to the plan and what does not fit, before anything is sent."""
    from orchestrator.summary import advice

    for line in advice(planned):
        typer.echo(line)


def _say_submitted(backend: "Backend", place: Workspace, submission: "Submission | None") -> None:
    """Say what went to the backend, and see that its first job starts.

    Raises:
        WorkspaceError: the first job could not start.
    """
    for note in backend.notes:
        typer.echo(note)
    if submission is None:
        typer.echo("nothing was submitted: all is done, or held by jobs that are queued")
    elif backend.name == "slurm":
        from cluster.slurm.first import watch_first_job

        typer.echo(f"{len(submission.bundles)} bundles are on their way to Slurm ({submission.id})")
        watch_first_job(place, submission)
    elif backend.name == "ray":
        from cluster.ray.first import watch_driver

        typer.echo(f"{len(submission.stages)} stages are on their way to Ray ({submission.id})")
        watch_driver(place, backend, submission)


def _ask_above(limit: float | None, gpu_hours: float) -> None:
    """Ask before more GPU-hours than `limit` are spent.

    Raises:
        WorkspaceError: there is nobody to ask, or the answer is no.
    """
    if limit is None or gpu_hours <= limit:
        return
    text = f"the plan needs about {gpu_hours:.0f} GPU-hours, more than the limit of {limit:g}"
    if not sys.stdin.isatty() or not typer.confirm(f"{text}. Submit it?"):
        raise WorkspaceError(f"{text}; raise --max-gpu-hours, or select fewer experiments with --where")


def _wait_for_trial(workspace: Workspace, experiments: list[str]) -> None:
    """Follow the trial of one experiment of each kind; end here when one of them did not come through."""
    from orchestrator.progress import follow
    from orchestrator.submit import canaries
    from orchestrator.summary import print_outcome

    view = _view(workspace)
    trial = [one.id for one in canaries([view.experiments[identity] for identity in experiments])]
    if follow(view, trial, until_idle=True):
        sys.exit(130)
    if any(view.survey.experiments[identity] not in ("done", "diverged") for identity in trial):
        sys.exit(print_outcome(view, trial))


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
