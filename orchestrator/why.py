"""Why an experiment is where it is: one sentence, and what would mend it."""

import time

from orchestrator.view import Experiment, View
from results.records import PlanRecord, StageRow

REMEDIES = {
    "gpu_out_of_memory": "one item alone does not fit the GPU; give the stage a larger one",
    "host_out_of_memory": "give the stage more memory (`resources.memory_gb` in the grid)",
    "hung": "look at its log, then `yates resume --release`",
    "timeout": "it made no progress between two time limits; give it a longer one (`resources.hours`)",
    "bug": "mend the code (new code is tried by `yates resume` at once) or `yates resume --release`",
    "bad_input": "mend the input, then `yates resume --release`",
    "transient": "see that the filesystem and network are well, then `yates resume --release`",
    "lost": "its worker is killed each time; look at the node, then `yates resume --release`",
}


def explain(view: View, experiment: Experiment) -> str:
    """One sentence on `experiment`: what it waits for or died of, and what would mend it."""
    status = view.survey.experiments[experiment.id]
    if status == "done":
        return f"{experiment.row.name} is done."
    stage = _deciding_stage(view, experiment)
    text = _STORIES[status](view, experiment.plan, stage) if status in _STORIES else f"is {status}"
    return f"{experiment.row.name} {text}."


def _deciding_stage(view: View, experiment: Experiment) -> StageRow:
    """The stage that makes the experiment's status what it is, else the first unfinished one."""
    plan = experiment.plan
    status = view.survey.experiments[experiment.id]
    unfinished = ("failed", "diverged", "stopped", "running", "held", "blocked", "pending")
    for wanted in (("failed", "diverged") if status == "blocked" else (status,), unfinished):
        for index in _closure(plan, experiment):
            if view.survey.stages.get(plan.stages[index].stage) in wanted:
                return plan.stages[index]
    return plan.stages[max(experiment.row.stages.values())]


def _closure(plan: PlanRecord, experiment: Experiment) -> list[int]:
    """The experiment's stages and all they stand on; a plan lists parents first, so the order is by index."""
    found: set[int] = set()
    pending = list(experiment.row.stages.values())
    while pending:
        index = pending.pop()
        if index not in found:
            found.add(index)
            pending.extend(plan.stages[index].parents)
    return sorted(found)


def _label(row: StageRow) -> str:
    return f"its {row.kind} stage ({row.stage[:12]})"


def _running(view: View, plan: PlanRecord, row: StageRow) -> str:
    claims = view.index.open.get(row.stage, {})
    workers = ", ".join(sorted(set(claims.values())))
    return f"is running: {_label(row)} is held by {workers}"


def _failed(view: View, plan: PlanRecord, row: StageRow) -> str:
    records = view.index.standing(row.stage)
    if not records:
        return f"failed: {_label(row)}"
    last = records[-1]
    remedy = REMEDIES.get(last["ending"] or "", "`yates resume --release` tries again")
    return f"failed: {_label(row)} ended with {last['ending']} ({last['message']}); {remedy}"


def _blocked(view: View, plan: PlanRecord, row: StageRow) -> str:
    if row.stage in view.index.diverged:
        return f"is blocked: {_label(row)}, which it stands on, diverged; that is a result and is not retried"
    return f"is blocked by a stage that it stands on: it {_failed(view, plan, row)}"


def _held(view: View, plan: PlanRecord, row: StageRow) -> str:
    return f"is held: {view.held.get(row.kind, 'its kind of stage is held')}"


def _pending(view: View, plan: PlanRecord, row: StageRow) -> str:
    if view.workspace.tombstone(row.stage).exists():
        return f"was cancelled before {_label(row)}; `yates resume` takes it up again"
    last = view.index.standing(row.stage)
    before = f" (its last try was {last[-1]['ending']} {_ago(last[-1]['ended'])})" if last else ""
    job = _queued(view, row.stage)
    if job:
        return f"waits for {_label(row)}, {job}{before}"
    if view.live_supervisors():
        return f"waits for {_label(row)}, which is in the queue of the running workers{before}"
    return f"waits for {_label(row)}{before}, and no worker runs; `yates resume` starts them"


def _queued(view: View, stage: str) -> str:
    """The job in Slurm's queue that would run a stage, and what it waits for."""
    if not view.workspace.jobs.is_dir():
        return ""
    from cluster.slurm.report import waiting_job

    job = waiting_job(view.workspace, stage)
    return "" if job is None else f"which job {job.id} would run; Slurm says {job.state} ({job.reason})"


def _diverged(view: View, plan: PlanRecord, row: StageRow) -> str:
    return f"diverged in {_label(row)}: that is a result, stored with its step, and is not retried"


def _stopped(view: View, plan: PlanRecord, row: StageRow) -> str:
    records = view.index.standing(row.stage)
    reason = f" at step {records[-1]['step']} ({records[-1]['message']})" if records else ""
    return f"was stopped early{reason}: {_label(row)}; `yates resume --release` trains it to its end"


def _ago(moment: float | None) -> str:
    if moment is None:
        return "some time ago"
    minutes = max(0.0, time.time() - moment) / 60
    return f"{minutes:.0f} minutes ago" if minutes < 120 else f"{minutes / 60:.0f} hours ago"


_STORIES = {
    "running": _running,
    "failed": _failed,
    "stopped": _stopped,
    "blocked": _blocked,
    "held": _held,
    "pending": _pending,
    "diverged": _diverged,
}
