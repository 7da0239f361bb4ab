"""How far an examination has come, saved so that another attempt goes on in the middle."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from results.files import read_json
from results.records import MetricRow
from results.schema import write_samples
from workers.checkpoints import new_checkpoint
from workers.context import StageContext, StageResult, StageStopped
from workers.evaluation.answers import Answers
from workers.evaluation.benchmark import Measurement, Sample

FILE = "evaluation.json"
ORDER = 2
"""Raise it when requests are put into other batches: answers that were saved under another order are not used."""


class Finished(TypedDict):
    """The rows and samples of a benchmark that is done."""

    metrics: list[MetricRow]
    samples: list[Sample]


class Progress:
    """Finished benchmarks, and the answers so far of the one that runs.

    It is saved when the execution's interval has passed (`checkpoint_steps` counts batches), and when a stop
    is asked for, after any batch. Checkpoints are numbered by the items that were answered. Invariant: a
    resumed examination returns what an uninterrupted one does, since answers are kept exactly.
    """

    def __init__(self, context: StageContext) -> None:
        self.finished: list[Finished] = []
        self.items = 0
        self._context = context
        self._answers: list[Any] = []
        self._items_before = 0
        self._batches = 0
        self._saved_at = time.monotonic()
        if context.resume_from is not None:
            self._restore(context.resume_from)

    def answers(self) -> Answers:
        """The answers of the benchmark that comes next, those of an earlier attempt first."""
        self._raise_if_stopped()
        return Answers(self._answers, self._after_batch)

    def finish(self, measurement: Measurement) -> None:
        """Note that the running benchmark is done."""
        self.finished.append(Finished(metrics=measurement.metrics, samples=measurement.samples))
        self._answers = []
        self._items_before = self.items
        self._save_if_due()

    def _after_batch(self, items: int) -> None:
        self.items += items
        self._batches += 1
        self._context.progress(self.items)
        self._raise_if_stopped()
        self._save_if_due()

    def _raise_if_stopped(self) -> None:
        if self._context.stop_requested():
            self._save()
            raise StageStopped

    def _save_if_due(self) -> None:
        execution = self._context.execution
        if execution.checkpoint_steps is not None:
            due = self._batches >= execution.checkpoint_steps
        else:
            due = time.monotonic() - self._saved_at >= execution.checkpoint_seconds
        if due:
            self._save()

    def _save(self) -> None:
        content = {
            "finished": self.finished,
            "order": ORDER,
            "answers": self._answers,
            "items_before": self._items_before,
        }
        with self._context.phase("save"), new_checkpoint(self._context.checkpoints, self.items) as directory:
            (directory / FILE).write_text(json.dumps(content))
        self._batches = 0
        self._saved_at = time.monotonic()

    def _restore(self, checkpoint: Path) -> None:
        content = read_json(checkpoint / FILE)
        self.finished = content["finished"]
        self._answers = content["answers"] if content.get("order") == ORDER else []
        self.items = self._items_before = content["items_before"]


def write_finished(context: StageContext, samples: Sequence[Sample]) -> None:
    """Write the samples of finished benchmarks as the stage's `samples.parquet`."""
    with context.phase("save"):
        rows = [{key: value for key, value in sample.items() if key != "generated"} for sample in samples]
        write_samples(context.output / "samples.parquet", rows)


def result_at(step: int | None, finished: Sequence[Finished]) -> StageResult:
    """The stage's result: the rows of all finished benchmarks, at an optimizer step of the training."""
    return StageResult([MetricRow(**{**row, "step": step}) for each in finished for row in each["metrics"]])
