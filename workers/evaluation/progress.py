"""How far an examination has come, saved so that another attempt goes on in the middle."""

import json
import time
from pathlib import Path
from typing import Any, TypedDict

from results.files import json_bytes, write_atomic
from results.records import MetricRow
from workers.context import StageContext, StageStopped
from workers.evaluation.answers import Answers
from workers.evaluation.benchmark import Measurement, Sample

FILE = "evaluation.json"


class Finished(TypedDict):
    """The rows and samples of a benchmark that is done."""

    metrics: list[MetricRow]
    samples: list[Sample]


class Progress:
    """Finished benchmarks, and the answers so far of the one that runs.

    Saves when the execution's interval has passed, and when a stop is asked for, after any batch. Invariant:
    what a resumed examination returns equals an uninterrupted one's, since answers are kept exactly.
    """

    def __init__(self, context: StageContext) -> None:
        self.finished: list[Finished] = []
        self._context = context
        self._begun: list[Any] = []
        self._items = 0
        self._saved = 0
        self._saved_at = time.monotonic()
        if context.resume_from is not None:
            self._restore(context.resume_from)

    def answers(self) -> Answers:
        """The answers of the next benchmark, those of an earlier attempt first."""
        given = self._begun
        self._counted = self._items - sum(map(len, given)) if given else self._items
        self._begun = given
        return Answers(given, self._after_batch)

    def finish(self, measurement: Measurement) -> None:
        """Note that the running benchmark is done."""
        self.finished.append(Finished(metrics=measurement.metrics, samples=measurement.samples))
        self._begun = []
        self._save_when_due()

    def _after_batch(self, items: int) -> None:
        raise NotImplementedError

    def _save_when_due(self) -> None:
        raise NotImplementedError

    def _restore(self, checkpoint: Path) -> None:
        raise NotImplementedError
