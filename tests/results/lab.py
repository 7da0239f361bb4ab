"""Workspaces made by hand: plans, commits and journals as workers would leave them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.files import json_bytes, publish_once
from results.journal import Journal
from results.layout import Workspace
from results.plans import write_plan
from results.records import AttemptRecord, Commit, ExperimentRow, MetricRow, PlanRecord, StageRow
from results.schema import write_curves, write_samples


def metric(
    task: str, value: float | None, name: str = "accuracy", *, step: int | None = None, primary: bool = True
) -> MetricRow:
    return {
        "task": task,
        "metric": name,
        "value": value,
        "stderr": 0.5 if primary else None,
        "n": 100,
        "step": step,
        "unit": "fraction",
        "primary": primary,
    }


def attempt(stage: str, token: str, ending: Any, *, number: int = 1, kind: str = "evaluate") -> AttemptRecord:
    return {
        "stage": stage,
        "kind": kind,
        "token": token,
        "number": number,
        "supervisor": "writer",
        "host": "node1",
        "process": 7,
        "process_started": 1.5,
        "boot": "boot",
        "backend": "local",
        "job": None,
        "started": 10.0,
        "ended": None if ending is None else 20.0,
        "ending": ending,
        "step": 3,
        "resumed_from": None,
        "message": None,
        "traceback": None,
        "fingerprint": {"gpu": "none"},
        "execution": {"micro_batch": 2},
        "seconds": {"compute": 6.0, "load": 2.0, "save": 1.0, "other": 1.0},
        "peak_memory_bytes": 1 << 20,
    }


def commit(stage: str, token: str, metrics: list[MetricRow], outcome: Any = "done") -> Commit:
    return {
        "stage": stage,
        "kind": "evaluate",
        "attempt": token,
        "outcome": outcome,
        "finished": 20.0,
        "output_digest": "digest",
        "metrics": metrics,
        "record": attempt(stage, token, outcome),
    }


def plan(
    experiments: dict[str, dict[str, Any]],
    pipelines: dict[str, dict[str, str]],
    parents: dict[str, list[str]] | None = None,
    **facts: Any,
) -> PlanRecord:
    """A plan from levels by experiment, pipelines (role to stage) by experiment, and parents by stage."""
    parents = parents or {}
    order: list[str] = []

    def visit(stage: str) -> None:
        for parent in parents.get(stage, []):
            visit(parent)
        if stage not in order:
            order.append(stage)

    for pipeline in pipelines.values():
        for stage in pipeline.values():
            visit(stage)
    index = {stage: position for position, stage in enumerate(order)}
    factors = tuple(dict.fromkeys(factor for levels in experiments.values() for factor in levels))
    rows = [
        ExperimentRow(
            name,
            f"name of {name}",
            tuple(levels.get(factor) for factor in factors),
            {role: index[stage] for role, stage in pipelines[name].items()},
        )
        for name, levels in experiments.items()
    ]
    stages = [
        StageRow(stage, "evaluate", tuple(index[parent] for parent in parents.get(stage, [])), "cpu", "", 1.0)
        for stage in order
    ]
    defaults = {"study": "alignment", "grid": "grids/alignment.yaml", "scale": "tiny", "preset": "corrected"}
    return PlanRecord(factors=factors, experiments=rows, stages=stages, **{**defaults, **facts})


@dataclass
class Lab:
    """A workspace and one writer of it."""

    workspace: Workspace
    writer: str = "writer"
    count: int = field(default=0)

    @classmethod
    def at(cls, root: Path) -> "Lab":
        root.mkdir(exist_ok=True)
        return cls(Workspace(root))

    @property
    def journal(self) -> Journal:
        return Journal(self.workspace, self.writer)

    def plan(self, *arguments: Any, **facts: Any) -> str:
        return write_plan(self.workspace, plan(*arguments, **facts))

    def claim(self, stage: str) -> str:
        self.count += 1
        token = f"{self.writer}-{self.count}"
        self.journal.claimed(stage, token, 10.0)
        return token

    def publish(self, stage: str, token: str, metrics: list[MetricRow], outcome: Any = "done") -> bool:
        return publish_once(
            self.workspace.done_file(stage), json_bytes(commit(stage, token, metrics, outcome))
        )

    def run(self, stage: str, *metrics: MetricRow, outcome: Any = "done") -> str:
        """Claim, commit and note the end: the whole life of a stage."""
        token = self.claim(stage)
        self.publish(stage, token, list(metrics), outcome)
        self.journal.ended(attempt(stage, token, outcome))
        return token

    def fail(self, stage: str, ending: str = "bug", number: int = 1) -> str:
        token = self.claim(stage)
        self.journal.ended(attempt(stage, token, ending, number=number))
        return token

    def outputs(self, stage: str, token: str, steps: int = 2) -> None:
        output = self.workspace.output(stage, token)
        write_curves(
            output / "curves.parquet",
            [{"step": s, "name": "loss", "value": 1.0 / (s + 1)} for s in range(steps)],
        )
        write_samples(
            output / "samples.parquet", [{"task": "chat", "item": 0, "prompt": "p", "completion": "c"}]
        )
