"""Submissions and plans of toy stages, made by hand."""

import os
import subprocess
import sys
import time
from pathlib import Path

from results.journal import Index
from results.layout import Workspace
from results.plans import write_plan
from results.records import ExperimentRow, PlanRecord, StageRow
from workers.recipe import Execution
from workers.stage import Stage
from workers.submission import Submission, SubmittedBundle, SubmittedStage

ROOT = Path(__file__).parents[2]


def submit_toys(
    workspace: Workspace, stages: list[Stage], bundles: int = 1, execution: Execution | None = None
) -> Submission:
    """Write `stages` (parents first), a plan with one experiment a stage, and a submission of `bundles`."""
    number = {stage.id: index for index, stage in enumerate(stages)}
    rows = [
        StageRow(s.id, s.kind.name, tuple(number[p] for _, p in s.parents), "cpu1", "toy", 1.0)
        for s in stages
    ]
    experiments = [ExperimentRow(f"e{i:011d}", f"toy/{i}", (i,), {"toy": i}) for i in range(len(stages))]
    for stage in stages:
        stage.write(workspace)
    write_plan(
        workspace, PlanRecord("toys", "toys.yaml", "tiny", "corrected", ("number",), experiments, rows)
    )
    submitted = tuple(SubmittedStage(*row, execution=0) for row in rows)
    parts = tuple(
        SubmittedBundle(f"toys-{part}", "cpu1", tuple(range(part, len(stages), bundles)))
        for part in range(bundles)
    )
    submission = Submission(
        f"toys-{time.time_ns()}", time.time(), "local", "", "", submitted, (execution or Execution(),), parts
    )
    submission.write(workspace)
    return submission


def start_supervisor(
    workspace: Workspace, submission: Submission, bundle: int = 0, linger: float = 30.0
) -> subprocess.Popen[bytes]:
    """Start the real supervisor process on one bundle."""
    command = supervisor_command(workspace, submission, bundle, linger)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    workspace.logs.mkdir(parents=True, exist_ok=True)
    with open(workspace.logs / "supervisors.log", "ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def supervisor_command(
    workspace: Workspace, submission: Submission, bundle: int = 0, linger: float = 30.0
) -> list[str]:
    """What starts the real supervisor on one bundle."""
    command = [sys.executable, "-m", "workers.supervisor", "--workspace", str(workspace.root)]
    command += ["--submission", submission.id, "--bundle", str(bundle), "--linger", str(linger)]
    return [*command, "--name", f"{submission.id}-{bundle}-{time.time_ns()}"]


def index_of(workspace: Workspace) -> Index:
    """The journals, folded."""
    index = Index(workspace)
    index.refresh()
    return index
