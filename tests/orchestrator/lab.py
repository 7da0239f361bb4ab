"""Workspaces made by hand: a plan of nine stages, and workers that claim, commit, fail and die as told.

The plan has four experiments, `sft/s0`, `sft/s1`, `dpo/s0` and `dpo/s1`. Each trains (`train-sft-0`, kind sft)
on one shared pre-training (`base`) and evaluates (`eval-sft-0`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cluster.local import LocalBackend
from orchestrator.view import Experiment, View
from results.files import json_bytes, write_atomic
from results.layout import Workspace
from results.plans import write_plan
from results.records import Commit, ExperimentRow, MetricRow, PlanRecord, StageRow
from workers.attempts import Attempt, Claimant
from workers.checkpoints import new_checkpoint
from workers.context import metric
from workers.outputs import seal
from workers.processes import ProcessIdentity
from workers.recipe import Execution
from workers.submission import Submission, SubmittedStage

METHODS = ("sft", "dpo")
SEEDS = (0, 1)
NAMES = [f"{method}/s{seed}" for method in METHODS for seed in SEEDS]
SHAPE = {"cpus": 1, "gpus": 0.0, "memory_gb": 2.0, "hours": 1.0}


def stage_id(name: str) -> str:
    """The id of the stage called `name`: 32 hexadecimal digits."""
    return hashlib.md5(name.encode()).hexdigest()


def experiment_id(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()[:12]


def study(created: float = 1.0, **others: Any) -> PlanRecord:
    """The plan described above. Costs: 60 seconds of pre-training, 30 of training, 10 of evaluation."""
    stages = [StageRow(stage_id("base"), "pretrain", (), "cpu1", "base", 60.0)]
    experiments = []
    for name in NAMES:
        method, seed = name.split("/s")
        train = len(stages)
        stages.append(StageRow(stage_id(f"train-{method}-{seed}"), method, (0,), "cpu1", "base", 30.0))
        stages.append(
            StageRow(stage_id(f"eval-{method}-{seed}"), "evaluate", (0, train), "cpu1", "base", 10.0)
        )
        own = {"train": train, "evaluate": train + 1}
        experiments.append(ExperimentRow(experiment_id(name), name, (method, int(seed)), own))
    record = PlanRecord(
        "study",
        "grid.yaml",
        "tiny",
        "corrected",
        ("method", "seed"),
        experiments,
        stages,
        {"cpu1": SHAPE},
        created,
    )
    return replace(record, **others)


def loop(points: int) -> PlanRecord:
    """One experiment, `run`, whose training (`train`) is evaluated at several steps (`eval-1`, `eval-2`, …)."""
    stages = [StageRow(stage_id("train"), "sft", (), "cpu1", "", 1.0)]
    stages += [
        StageRow(stage_id(f"eval-{point}"), "evaluate", (0,), "cpu1", "", 1.0)
        for point in range(1, points + 1)
    ]
    own = {"train": 0, **{f"evaluate@{point}": point for point in range(1, points + 1)}}
    row = ExperimentRow(experiment_id("run"), "run", (), own)
    return PlanRecord("loop", "grid.yaml", "tiny", "corrected", (), [row], stages, {"cpu1": SHAPE}, 1.0)


def dead() -> ProcessIdentity:
    """A process of this machine that no longer runs."""
    own = ProcessIdentity.own()
    return replace(own, started=own.started - 1000.0)


def elsewhere() -> ProcessIdentity:
    """A process of another machine: nobody here can tell whether it lives."""
    return ProcessIdentity("another-node", "another-boot", 17, 0.0)


@dataclass
class Lab:
    """A workspace with its plans, and workers that do as told. Stages are given by name."""

    workspace: Workspace
    plans: list[PlanRecord] = field(default_factory=lambda: [study()])

    def __post_init__(self) -> None:
        for plan in self.plans:
            write_plan(self.workspace, plan)
        self._kinds = {row.stage: row.kind for plan in self.plans for row in plan.stages}
        self.worker("worker-1")

    def worker(self, name: str, identity: ProcessIdentity | None = None) -> Claimant:
        """Start a worker: from now on it has a file under `supervisors/`."""
        claimant = Claimant(self.workspace, name, "local", None, identity or ProcessIdentity.own())
        record = {"name": name, "backend": "local", **claimant.identity.as_record()}
        write_atomic(self.workspace.supervisors / f"{name}.json", json_bytes(record))
        self._worker = claimant
        return claimant

    def leave(self, name: str = "worker-1") -> None:
        """A worker ends as it should."""
        (self.workspace.supervisors / f"{name}.json").unlink()

    def claim(self, name: str) -> Attempt:
        """The last started worker claims a stage, and holds it."""
        stage = stage_id(name)
        attempt = self._worker.claim(stage, self._kinds.get(stage, "toy"), {})
        assert attempt is not None, f"{name} cannot be claimed"
        return attempt

    def finish(
        self, *names: str, outcome: Any = "done", metrics: tuple[MetricRow, ...] = (), journalled: bool = True
    ) -> Attempt:
        """Claim stages, leave an output, and commit; without `journalled` die before saying so."""
        for name in names:
            attempt = self.claim(name)
            (attempt.directory / "output").mkdir()
            (attempt.directory / "output" / "value.txt").write_text(f"the output of {name}")
            commit = _commit(attempt, outcome, list(metrics) or [metric("toy", 1.0, primary=True)])
            if journalled:
                assert attempt.commit(commit)
            else:
                attempt.record["ending"] = outcome
                content = json_bytes({**commit, "record": attempt.record})
                write_atomic(self.workspace.done_file(stage_id(name)), content)
        return attempt

    def fail(self, *names: str, ending: Any = "bug", message: str = "it broke", **record: Any) -> Attempt:
        """Claim stages and end badly; `record` holds more fields of the attempt."""
        for name in names:
            attempt = self.claim(name)
            attempt.record.update(record)  # type: ignore[typeddict-item]
            attempt.end(ending, message)
        return attempt

    def checkpoint(self, attempt: Attempt, step: int) -> Path:
        """A complete checkpoint of an attempt."""
        directory = attempt.directory / "checkpoints"
        with new_checkpoint(directory, step) as private:
            (private / "state.bin").write_bytes(b"\0" * 1000)
        return directory / f"{step:06d}"

    def submit(self, identity: str, created: float, **executions: Execution) -> Submission:
        """A submission of stages by name, each with its execution."""
        stages = tuple(
            SubmittedStage(stage_id(name.replace("_", "-")), "sft", (), "cpu1", "", 1.0, number)
            for number, name in enumerate(executions)
        )
        submission = Submission(
            identity, created, "local", "", "code", stages, tuple(executions.values()), ()
        )
        submission.write(self.workspace)
        return submission

    def view(self, code: str | None = None) -> View:
        return View(self.workspace, code)

    def done(self) -> set[str]:
        """The ids of the stages that the journals call done."""
        return set(self.view().index.done)

    def tree(self) -> dict[str, bytes]:
        """Every file of the workspace and its content."""
        return {
            str(path.relative_to(self.workspace.root)): path.read_bytes()
            for path in sorted(self.workspace.root.rglob("*"))
            if path.is_file()
        }


def _commit(attempt: Attempt, outcome: Any, metrics: list[MetricRow]) -> Commit:
    record = attempt.record
    return Commit(
        stage=record["stage"],
        kind=record["kind"],
        attempt=record["token"],
        outcome=outcome,
        finished=2.0,
        output_digest=seal(attempt.directory / "output"),
        metrics=metrics,
        record=record,
    )


def chosen(view: View, *names: str) -> list[Experiment]:
    """The experiments of a view by name; all of them when none is named."""
    return [one for one in view.experiments.values() if not names or one.row.name in names]


@dataclass
class FakeBackend(LocalBackend):
    """A backend that starts nothing; it notes what it was given, and what lay on disk at that moment."""

    name: str = "fake"
    count: int = 2
    started: list[Submission] = field(default_factory=list)
    on_disk: list[Submission] = field(default_factory=list)
    stopped: int = 0

    def slots(self, needs: Mapping[str, Any]) -> int:
        return self.count

    def start(self, workspace: Workspace, submission: Submission) -> int:
        self.started.append(submission)
        self.on_disk.append(Submission.read(workspace, submission.id))
        return len(submission.bundles)

    def live(self, workspace: Workspace) -> list[str]:
        return LocalBackend(cores=1).live(workspace)

    def stop(self, workspace: Workspace) -> int:
        self.stopped += 1
        return 0


__all__ = ["NAMES", "FakeBackend", "Lab", "chosen", "dead", "elsewhere", "experiment_id", "stage_id", "study"]
