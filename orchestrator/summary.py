"""What is printed of a plan, a state and an outcome."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from orchestrator.budget import PHASES, by_factors, longest_chain, phases
from orchestrator.units import human_seconds
from orchestrator.view import Experiment, View
from results.status import Counts

if TYPE_CHECKING:
    from orchestrator.plan import Plan


def plan_summary(plan: "Plan", by: Sequence[str] = ()) -> dict[str, Any]:
    """Counts, cost and shapes of a plan, JSON-ready; `by` are factors whose levels get a row of costs each.

    Costs are expected seconds of stages one after another, on the GPUs of a shape or one core.

    Raises:
        WorkspaceError: a factor that the plan does not have.
    """
    from orchestrator.fitting import fits, largest_by_shape

    kinds: dict[str, dict[str, Any]] = defaultdict(lambda: {"stages": 0, "seconds": 0.0, "gpu_hours": 0.0})
    shapes: dict[str, dict[str, Any]] = defaultdict(lambda: {"stages": 0, "seconds": 0.0})
    for stage in plan.stages:
        for group, key in ((kinds, stage.kind.name), (shapes, stage.shape)):
            group[key]["stages"] += 1
            group[key]["seconds"] += stage.cost
        kinds[stage.kind.name]["gpu_hours"] += stage.cost * stage.resources.gpus / 3600
    for name, needs in plan.shapes.items():
        shapes[name]["gpu_hours"] = shapes[name]["seconds"] / 3600 * float(needs.get("gpus", 0))
        shapes[name]["memory_gb"] = needs.get("memory_gb")
    memory = fits(plan)
    for name, fit in largest_by_shape(memory).items():
        shapes[name]["needs"] = fit.room
    record = plan.record()
    return {
        "study": record.study,
        "grid": record.grid,
        "scale": record.scale,
        "preset": record.preset,
        "experiments": len(plan.experiments),
        "stages": len(plan.stages),
        "kinds": dict(sorted(kinds.items())),
        "shapes": dict(sorted(shapes.items())),
        "phases": phases(plan),
        "longest_chain": longest_chain(plan),
        "by": by_factors(plan, by) if by else [],
        "unresolved": list(plan.unresolved),
        "judging": _judging(plan),
        "memory": [fit.as_json() for fit in memory],
        "warnings": [fit.warning for fit in memory if fit.warning],
        "choices": list(plan.choices),
        "measured_attempts": plan.calibration.applied,
    }


def _judging(plan: "Plan") -> dict[str, Any] | None:
    """What judges at services would be asked, JSON-ready, or None when there are none."""
    from orchestrator.judging import judging_cost

    cost = judging_cost(plan)
    return None if cost is None else {**cost.as_json(), "text": cost.text}


def advice(plan: "Plan") -> list[str]:
    """What was left to the plan, and which stages do not fit what they ask for: a line each."""
    from orchestrator.fitting import fits

    chosen = [f"left to the plan: {'; '.join(plan.choices)}"] if plan.choices else []
    return chosen + [f"does not fit: {fit.warning}" for fit in fits(plan) if fit.warning]


def print_plan(summary: dict[str, Any]) -> None:
    """Print a plan's summary as small tables."""
    console = Console()
    console.print(
        f"{summary['study']} ({summary['scale']}, {summary['preset']}): "
        f"{summary['experiments']} experiments, {summary['stages']} distinct stages"
    )
    kinds = Table("stage kind", "stages", "one takes", "expected time", "GPU-hours", box=None)
    for kind, row in summary["kinds"].items():
        each = human_seconds(row["seconds"] / row["stages"])
        kinds.add_row(
            kind, str(row["stages"]), each, human_seconds(row["seconds"]), f"{row['gpu_hours']:.1f}"
        )
    shapes = Table("resource shape", "stages", "expected time", "GPU-hours", "memory", "needs", box=None)
    for shape, row in summary["shapes"].items():
        gpu_hours = f"{row.get('gpu_hours', 0.0):.1f}"
        memory = f"{row.get('memory_gb')} GB"
        cells = (str(row["stages"]), human_seconds(row["seconds"]), gpu_hours, memory, row.get("needs", ""))
        shapes.add_row(shape, *cells)
    console.print(kinds)
    console.print(shapes)
    if summary["measured_attempts"]:
        text = (
            f"{summary['measured_attempts']} measured attempts at stages like these correct times and memory"
        )
        console.print(text, highlight=False, soft_wrap=True)
    _print_memory(console, summary)
    _print_budget(console, summary)
    if summary["judging"]:
        console.print(summary["judging"]["text"], highlight=False, markup=False, soft_wrap=True)
    if summary["unresolved"]:
        console.print(
            f"not on this machine, so their content is in no id yet: {', '.join(summary['unresolved'])}; "
            "map them with --hub-map, or bring them with `yates data check --fetch`",
            highlight=False,
            soft_wrap=True,
        )


def _print_memory(console: Console, summary: dict[str, Any]) -> None:
    """The largest micro-batches that fit, and what does not fit."""
    fitting = [
        f"{row['stage']} {row['largest_micro_batch']}"
        for row in summary["memory"]
        if row["largest_micro_batch"]
    ]
    if fitting:
        text = f"largest micro-batches that fit: {', '.join(dict.fromkeys(fitting))}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    if summary["choices"]:
        text = f"left to the plan: {'; '.join(summary['choices'])}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    for warning in summary["warnings"]:
        console.print(f"does not fit: {warning}", highlight=False, markup=False, soft_wrap=True)


def _print_budget(console: Console, summary: dict[str, Any]) -> None:
    """Training against evaluation, the shortest that all can take, and the groups that were asked for."""
    for name, row in summary["phases"].items():
        if row["stages"]:
            alone = f"{_span(row['least'], row['most'])} for an experiment by itself"
            gpus = f" ({row['gpu_hours']:.1f} GPU-hours)" if row["gpu_hours"] else ""
            console.print(
                f"{name}: {human_seconds(row['seconds'])}{gpus}, {alone}", highlight=False, soft_wrap=True
            )
    longest = human_seconds(summary["longest_chain"])
    console.print(f"stages that wait for each other take {longest} on any number of workers", highlight=False)
    if summary["by"]:
        factors = [name for name in summary["by"][0] if name not in ("experiments", *PHASES)]
        table = Table(*factors, "experiments", *PHASES, box=None)
        for row in summary["by"]:
            levels = [str(row[name]) for name in (*factors, "experiments")]
            table.add_row(*levels, *[human_seconds(row[name]) for name in PHASES])
        console.print(table)


def _span(least: float, most: float) -> str:
    low, high = human_seconds(least), human_seconds(most)
    return low if low == high else f"{low} to {high}"


STATES = ("running", "pending", "failed", "stopped", "blocked", "held")


def status_summary(view: View, experiments: list[Experiment]) -> dict[str, Any]:
    """The state of a workspace, JSON-ready: a count for each status, stages by kind and state, what is held."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for stage, kind in _kinds(experiments).items():
        kinds[kind][view.survey.stages[stage]] += 1
    return {
        **asdict(view.counts(experiments)),
        "experiments": len(experiments),
        "stages": {kind: dict(sorted(states.items())) for kind, states in sorted(kinds.items())},
        "held_because": view.held,
        "workers": [record["name"] for record in view.live_supervisors()],
        "slurm": _slurm(view),
        "ray": _ray(view),
    }


def _slurm(view: View) -> dict[str, Any] | None:
    """What Slurm's queue holds of this workspace, where anything went there."""
    if not view.workspace.jobs.is_dir():
        return None
    from cluster.slurm.report import queue_report

    report = queue_report(view.workspace)
    return None if report is None else {**asdict(report), "lines": report.lines}


def _ray(view: View) -> dict[str, Any] | None:
    """What the drivers on Ray say, where anything went there."""
    if not view.workspace.drivers.is_dir():
        return None
    from cluster.ray.report import ray_report

    report = ray_report(view.workspace)
    return None if report is None else report.as_json()


def print_status(view: View, experiments: list[Experiment]) -> None:
    """Print the state of a workspace by study and kind of stage, what failed by class, and what is held."""
    console = Console()
    _print_studies(console, view, experiments)
    summary = status_summary(view, experiments)
    shown = [state for state in STATES if state != "stopped" or summary["stopped"]]
    table = Table("stage kind", "done", *shown, box=None)
    for kind, states in summary["stages"].items():
        done = states.get("done", 0) + states.get("diverged", 0)
        others = [str(states.get(state, 0)) for state in shown]
        table.add_row(kind, str(done), *others)
    console.print(table)
    _print_failures(console, view)
    workers = summary["workers"]
    console.print(f"{len(workers)} workers run" if workers else "no worker runs")
    for report in (summary["slurm"], summary["ray"]):
        for line in report["lines"] if report else ():
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_outcome(view: View, experiments: list[str]) -> int:
    """Print how a run ended and return its exit code: 0 when every experiment has its result, else 1."""
    console = Console()
    chosen = [view.experiments[identity] for identity in experiments]
    counts = view.counts(chosen)
    console.print(f"{len(chosen)} experiments: {_listed(counts)}", highlight=False, soft_wrap=True)
    _print_failures(console, view)
    if counts.done + counts.diverged < len(chosen):
        _print_dead_workers(console, view)
        console.print(
            "`yates why EXPERIMENT` explains one; `yates resume` goes on", highlight=False, soft_wrap=True
        )
        return 1
    root = view.workspace.root
    console.print(
        f"results: yates results -w {root} --by model,method · store: {root}/store/latest",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _print_studies(console: Console, view: View, experiments: list[Experiment]) -> None:
    groups: dict[tuple[str, str, str], list[Experiment]] = defaultdict(list)
    for one in experiments:
        groups[(one.plan.study, one.plan.scale, one.plan.preset)].append(one)
    for (study, scale, preset), members in sorted(groups.items()):
        console.print(
            f"{study} ({scale}, {preset}): {_listed(view.counts(members))}", highlight=False, soft_wrap=True
        )


def _print_failures(console: Console, view: View) -> None:
    """Failures by class with one example of each, and each held kind with its one reason."""
    classes: dict[str, list[str]] = defaultdict(list)
    for stage in sorted(view.failed):
        last = view.index.standing(stage)[-1]
        classes[f"{last['kind']} {last['ending']}"].append(last["message"] or "")
    for name, texts in sorted(classes.items()):
        console.print(
            f"failed: {len(texts)} × {name}, such as: {texts[0]}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    for kind, reason in sorted(view.held.items()):
        console.print(f"held: {kind}: {reason}", highlight=False, markup=False, soft_wrap=True)


def _print_dead_workers(console: Console, view: View) -> None:
    """When work is pending and no worker runs, the end of the last worker's log tells why."""
    if "pending" not in view.survey.experiments.values() or view.live_supervisors():
        return
    logs = sorted(view.workspace.logs.glob("*.log"), key=lambda path: path.stat().st_mtime)
    lines = logs[-1].read_text(errors="replace").strip().splitlines() if logs else []
    if lines:
        console.print(
            f"the last worker ended with: {lines[-1]} ({logs[-1]})",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _listed(counts: Counts) -> str:
    named = [f"{count} {status}" for status, count in asdict(counts).items() if count]
    return ", ".join(named) or "none"


def _kinds(experiments: list[Experiment]) -> dict[str, str]:
    """Every stage that `experiments` have or stand on, with its kind."""
    found: dict[str, str] = {}
    for one in experiments:
        pending = list(one.row.stages.values())
        while pending:
            row = one.plan.stages[pending.pop()]
            if row.stage not in found:
                found[row.stage] = row.kind
                pending.extend(row.parents)
    return found
