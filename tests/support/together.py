"""Stages computed by several processes, started from a test as a warm child starts them, and compared with one."""

import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from tests.support.training import Lab, Ran
from workers.assignment import context_of
from workers.checkpoints import newest_checkpoint
from workers.context import Parent
from workers.kinds import Kind
from workers.messages import Message
from workers.ranks import Ranks
from workers.recipe import Execution, Recipe
from workers.stage import Stage
from workers.strategies import suits

FIGURES = ("loss", "grad_norm", "logps/chosen", "logps/rejected")
LOSSES = tuple(name for name in FIGURES if name != "grad_norm")


def divided(strategy: str, processes: int = 2, **others: Any) -> Execution:
    """An execution on the CPU by several processes."""
    return Execution(device="cpu", strategy=strategy, processes=processes, **others)


@dataclass
class Team:
    """One attempt at a stage by several processes. `kill` ends a process by SIGKILL at a step, `stop` asks at one."""

    lab: Lab
    stage: Stage
    execution: Execution
    token: str
    kill: tuple[int, int] | None = None
    stop: int | None = None
    steps: list[int] = field(default_factory=list)
    members: list[int] = field(default_factory=list)

    def run(self) -> Ran:
        """Compute the stage, from its newest checkpoint that suits."""
        workspace = self.lab.workspace
        checkpoint = newest_checkpoint(workspace, self.stage.id, lambda found: suits(found, self.execution))
        assignment = self._assignment(checkpoint)
        record = {"execution": self.execution.model_dump(mode="json")}
        directory = workspace.attempt(self.stage.id, self.token)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "attempt.json").write_text(json.dumps(record))
        context = context_of(workspace, assignment, on_progress=self._progress, stop_requested=self._stopped)
        self.ranks = Ranks(context, assignment)
        try:
            found = self.ranks.run()
        finally:
            self.members = [member.process.pid for member in self.ranks.members]
        done = workspace.done_file(self.stage.id)
        done.write_text(json.dumps({"stage": self.stage.id, "attempt": self.token, "metrics": []}))
        return Ran(self.stage, context.output, found.result, found.seconds)

    def _assignment(self, checkpoint: Path | None) -> Message:
        return {
            "stage": self.stage.id,
            "token": self.token,
            "execution": self.execution.model_dump(mode="json"),
            "resume_from": None if checkpoint is None else str(checkpoint),
            "hub_map": {},
        }

    def _progress(self, step: int, total: int | None) -> None:
        self.steps.append(step)
        if self.kill is not None and step == self.kill[1]:
            os.kill(self.ranks.members[self.kill[0]].process.pid, signal.SIGKILL)

    def _stopped(self) -> bool:
        return self.stop is not None and bool(self.steps) and self.steps[-1] >= self.stop


def stage_of(lab: Lab, kind: Kind, recipe: Recipe, parents: tuple[Parent, ...] = ()) -> Stage:
    """A stage with the commits of its parents, as processes read them."""
    for parent in parents:
        done = lab.workspace.done_file(parent.stage.id)
        content = json.loads(done.read_text())
        done.write_text(json.dumps({"metrics": [], **content}))
    return lab.stage(kind, recipe, parents)


def weights(output: Path) -> dict[str, torch.Tensor]:
    """Every trained tensor of an output, by name."""
    files = [*output.glob("adapter/*.safetensors"), *output.glob("model/*.safetensors")]
    return {name: tensor for path in files for name, tensor in load_file(path).items()}


def largest_difference(ours: Path, theirs: Path) -> float:
    """The largest entry of a difference between two tensors of equal name, by the largest entry of the tensor."""
    left, right = weights(ours), weights(theirs)
    assert left.keys() == right.keys()
    assert left
    return max(_relative(left[name], right[name]) for name in left)


def distance(ours: Path, theirs: Path) -> float:
    """The norm of the difference of all trained weights together, by the norm of the weights."""
    left, right = weights(ours), weights(theirs)
    assert left.keys() == right.keys()
    squares = [((left[name].double() - right[name].double()) ** 2).sum().item() for name in left]
    return (sum(squares) / sum((each.double() ** 2).sum().item() for each in right.values())) ** 0.5


def largest_curve_difference(ours: Path, theirs: Path, figures: tuple[str, ...] = FIGURES) -> float:
    """The same of the figures that every step logs."""
    left, right = curves(ours), curves(theirs)
    assert left.keys() == right.keys()
    return max(_relative(left[name], right[name]) for name in left if name in figures)


def curves(output: Path) -> dict[str, torch.Tensor]:
    """The logged figures by name, in the order of their steps."""
    rows = pq.read_table(output / "curves.parquet").to_pylist()
    names = {row["name"] for row in rows}
    return {name: torch.tensor([row["value"] for row in rows if row["name"] == name]) for name in names}


def _relative(left: torch.Tensor, right: torch.Tensor) -> float:
    scale = right.double().abs().max().item()
    difference = (left.double() - right.double()).abs().max().item()
    return difference / scale if scale else difference
