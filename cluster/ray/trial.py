"""A trial of Ray Tune: one searched stage on a warm actor, one report of the stage an iteration.

The stage is an ordinary attempt: claimed, checkpointed and committed by a supervisor in the workspace. Tune decides
after each report whether it goes on, while the stage waits. So a trial that Tune starts again from scratch, after
whatever died, goes on from its newest checkpoint, and one that is committed is told from its curves.
"""

import queue
import secrets
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from ray import tune

from cluster.ray.actor import node_name
from results.layout import Workspace
from workers.attempts import read_commit
from workers.stage import Stage
from workers.submission import Submission
from workers.supervisor import Supervisor

STEPS = "steps"
"""How far a trial is, in optimizer steps: what schedulers go by."""
RETRY_SECONDS = 1.0
Report = tuple[int, float]


class StageTrial(tune.Trainable):  # type: ignore[misc]
    """`config["stage"]` is the stage's id. What differs from driver to driver comes with `setup`."""

    _told: list[Report]
    _thread: threading.Thread | None
    _asked: bool

    def setup(self, config: dict[str, Any], workspace: str, submission: str, metric: str, job: str) -> None:
        """Become the supervisor of this actor's place; its warm child serves one trial after another."""
        self._workspace, self._metric = Workspace(Path(workspace)), metric
        self._submission = Submission.read(self._workspace, submission)
        self._numbers = {one.stage: number for number, one in enumerate(self._submission.stages)}
        bundle = _bundle(self._submission, self._numbers.get(config["stage"]))
        name = f"{self._submission.id}-trial-{secrets.token_hex(3)}"
        self._supervisor = Supervisor(self._workspace, self._submission, bundle, name, job, node=node_name())
        self._supervisor.on_report = self._on_report
        self._supervisor.open()
        self._supervisor.warm()
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial, on the same child."""
        self._end()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Let the stage run to its next report, or to its end."""
        if self._thread is None and not self._told:
            self._start()
        elif self._asked:
            self._asked = False
            self._answers.put(True)
        report: Report | None = self._told.pop(0) if self._told else self._reports.get()
        if report is None:
            return self._finished()
        step, value = report
        return {STEPS: step, self._metric: value, "done": self._thread is None and not self._told}

    def cleanup(self) -> None:
        """End what runs and take leave."""
        self._end()
        self._supervisor.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the workspace holds the stage's checkpoints."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: a stage goes on from the workspace's newest checkpoint by itself."""

    def _begin(self, config: dict[str, Any]) -> None:
        self._stage = Stage.read(self._workspace, config["stage"])
        training = getattr(self._stage.recipe, "training", None)
        self._total = int(getattr(training, "steps", 0) or getattr(self._stage.recipe, "steps", 0))
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = None
        self._asked = False
        self._told = committed_reports(self._workspace, self._stage.id, self._metric)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Take the stage; again while another attempt holds it."""
        try:
            number = self._numbers.get(self._stage.id)
            while number is not None and not self._supervisor.take(number):
                if read_commit(self._workspace, self._stage.id) is not None:
                    break
                time.sleep(RETRY_SECONDS)
        finally:
            self._reports.put(None)

    def _on_report(self, step: int, values: dict[str, float]) -> bool:
        """In the supervisor's thread: pass a figure on; wait for the answer unless it was the last step."""
        if self._metric not in values:
            return True
        self._asked = step < self._total
        self._reports.put((step, values[self._metric]))
        return self._answers.get() if step < self._total else True

    def _finished(self) -> dict[str, Any]:
        """The result of the stage's end.

        Raises:
            RuntimeError: it did not commit.
        """
        told = committed_reports(self._workspace, self._stage.id, self._metric)
        if not told:
            raise RuntimeError(f"stage {self._stage.id} did not come through; `yates why` says more")
        step, value = told[-1]
        return {STEPS: step, self._metric: value, "done": True}

    def _end(self) -> None:
        """Stop the stage where it waits for an answer; let one that is at its end come to it."""
        if self._thread is not None:
            if self._asked:
                self._asked = False
                self._answers.put(False)
            self._thread.join()
            self._thread = None


def _bundle(submission: Submission, number: int | None) -> int:
    """A bundle of the stage's shape: what its child gets ready for."""
    shape = None if number is None else submission.stages[number].shape
    shapes = [bundle.shape for bundle in submission.bundles]
    return shapes.index(shape) if shape in shapes else 0


def committed_reports(workspace: Workspace, stage: str, metric: str) -> list[Report]:
    """What a committed stage reported, from its curves; nothing for one that is not committed."""
    commit = read_commit(workspace, stage)
    if commit is None:
        return []
    path = workspace.output(stage, commit["attempt"]) / "curves.parquet"
    if path.is_file():
        rows = pq.read_table(path, filters=[("name", "=", metric)]).to_pylist()
        if rows:
            return [(int(row["step"]), float(row["value"])) for row in rows]
    found = [row for row in commit["metrics"] if row["metric"] == metric and row["value"] is not None]
    return [(int(row["step"] or 0), float(row["value"] or 0.0)) for row in found]
