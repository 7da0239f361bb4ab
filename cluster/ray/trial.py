"""A trial of Ray Tune: one searched stage on a warm actor, one report of the stage an iteration.

The stage is an ordinary attempt: claimed, checkpointed and committed by a supervisor in the workspace. Tune decides
after each report whether it goes on, while the stage waits. A trial that Tune starts again, after whatever died, goes
on from the stage's newest checkpoint.
"""

import queue
import secrets
import threading
import time
from pathlib import Path
from typing import Any

from ray import tune

from cluster.ray.actor import node_name
from cluster.ray.ledger import Ledger, Report
from results.layout import Workspace
from workers.stage import Stage
from workers.submission import Submission
from workers.supervisor import Supervisor

STEPS = "steps"
"""How far a trial is, in optimizer steps: what schedulers go by."""
RETRY_SECONDS = 1.0
PATIENCE_SECONDS = 600.0
"""How long a trial waits for a stage that another attempt holds, or whose parent is being computed again."""


class StageTrial(tune.Trainable):  # type: ignore[misc]
    """`config["number"]` is the stage's number in the submission."""

    _thread: threading.Thread | None
    _asked: bool
    _step: int

    def setup(
        self, config: dict[str, Any], workspace: str, submission: str, ledger: str, metric: str, job: str
    ) -> None:
        """Become the supervisor of this actor's place; its warm child serves one trial after another."""
        place = Workspace(Path(workspace))
        self._ledger, self._metric = Ledger(Path(ledger)), metric
        self._submission = Submission.read(place, submission)
        shapes = [bundle.shape for bundle in self._submission.bundles]
        shape = self._submission.stages[int(config["number"])].shape
        bundle = shapes.index(shape) if shape in shapes else 0
        name = f"{self._submission.id}-trial-{secrets.token_hex(3)}"
        self._supervisor = Supervisor(place, self._submission, bundle, name, job, node=node_name())
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
        """Let the stage run to its next report, or to its end; a result without the metric is an end without one."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        elif self._asked:
            self._asked = False
            self._answers.put(True)
        report = self._reports.get()
        if report is None:
            return {STEPS: self._step, "done": True}
        self._step, value = report
        return {STEPS: self._step, self._metric: value}

    def cleanup(self) -> None:
        """End what runs and take leave."""
        self._end()
        self._supervisor.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the workspace holds the stage's checkpoints."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: a stage goes on from the workspace's newest checkpoint by itself."""

    def _begin(self, config: dict[str, Any]) -> None:
        self._number = int(config["number"])
        self._stage = Stage.read(self._supervisor.workspace, self._submission.stages[self._number].stage)
        training = getattr(self._stage.recipe, "training", None)
        self._total = int(getattr(self._stage.recipe, "steps", 0) or getattr(training, "steps", 0))
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread, self._asked, self._step = None, False, 0
        self._supervisor.stop = None

    def _run(self) -> None:
        """Take the stage until it has come to an end that another try would not change."""
        try:
            patience = time.monotonic() + PATIENCE_SECONDS
            while self._supervisor.stop is None and self._open() and time.monotonic() < patience:
                if self._supervisor.take(self._number):
                    patience = time.monotonic() + PATIENCE_SECONDS
                else:
                    time.sleep(RETRY_SECONDS)
        finally:
            self._reports.put(None)

    def _open(self) -> bool:
        """Whether the stage is still to be run: not committed, failed, cancelled, held, or stopped by a search."""
        outlook = self._supervisor.agenda.outlook
        outlook.refresh(now=True)
        return outlook.state(self._number) != "done" and outlook.may_finish(self._number, {})

    def _on_report(self, step: int, values: dict[str, float]) -> bool:
        """In the supervisor's thread: pass a figure on; wait for the answer unless it was the last step."""
        if self._metric not in values:
            return True
        self._ledger.note(self._stage.id, (step, values[self._metric]))
        self._asked = step < self._total
        self._reports.put((step, values[self._metric]))
        return self._answers.get() if step < self._total else True

    def _end(self) -> None:
        """End the trial: stopped early where the search says so, saved where it was interrupted.

        A stage at its last step is let come to its end.
        """
        if self._thread is None:
            return
        if self._asked:
            self._asked = False
            stopped = self._ledger.stopped(self._stage.id)
            if not stopped:
                self._supervisor.stop = "preempted"
            self._answers.put(not stopped)
        self._thread.join()
        self._thread = None
