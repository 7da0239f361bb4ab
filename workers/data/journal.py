"""How far a tokenization has come, so that a stopped or killed one goes on where it was."""

import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy

from workers.checkpoints import new_checkpoint
from workers.context import StageContext, StageStopped
from workers.data.shards import ShardWriter, shard_name
from workers.outputs import file_digest

STATE = "state.json"


class Journal:
    """Counts batches and saves checkpoints: counts, ids that fill no shard, and the checksums of the shards.

    The shards themselves stay in the output of the attempt that wrote them; the next attempt links them. When one
    of them is missing or damaged, it begins from the start.
    """

    def __init__(self, context: StageContext, writers: dict[str, ShardWriter]) -> None:
        self._context, self._writers = context, writers
        self.batches = 0
        self.documents: Counter[str] = Counter()
        self._saved = time.monotonic()
        if context.resume_from is not None:
            self._restore(context.resume_from)

    def after_batch(self, documents: dict[str, int]) -> None:
        """A batch is written; save when it is time.

        Raises:
            StageStopped: a stop was asked for.
        """
        self.batches += 1
        self.documents.update(documents)
        self._context.progress(self.batches)
        stop = self._context.stop_requested()
        if stop or self._due():
            self._save()
        if stop:
            raise StageStopped

    def _due(self) -> bool:
        every = self._context.execution.checkpoint_steps
        if every is not None:
            return self.batches % every == 0
        return time.monotonic() - self._saved >= self._context.execution.checkpoint_seconds

    def _save(self) -> None:
        splits = {
            name: {"lengths": writer.lengths, "digests": writer.digests}
            for name, writer in self._writers.items()
        }
        state = {"batches": self.batches, "documents": self.documents, "splits": splits}
        with (
            self._context.phase("save"),
            new_checkpoint(self._context.checkpoints, self.batches) as directory,
        ):
            (directory / STATE).write_text(json.dumps(state))
            for name, writer in self._writers.items():
                numpy.save(directory / f"{name}.npy", writer.rest)
        self._saved = time.monotonic()

    def _restore(self, checkpoint: Path) -> None:
        state = json.loads((checkpoint / STATE).read_text())
        made = checkpoint.parent.parent / "output" / "tokens"
        if not all(_sound(made / name, split) for name, split in state["splits"].items()):
            return
        for name, writer in self._writers.items():
            split = state["splits"][name]
            for number in range(len(split["lengths"])):
                _link(made / name / shard_name(number), writer.directory / shard_name(number))
            rest = numpy.load(checkpoint / f"{name}.npy", allow_pickle=False)
            writer.restore(split["lengths"], split["digests"], rest)
        self.batches, self.documents = state["batches"], Counter(state["documents"])


def _sound(directory: Path, split: dict[str, Any]) -> bool:
    """Whether every shard of a split is there with its checksum."""
    paths = [directory / shard_name(number) for number in range(len(split["digests"]))]
    return all(
        path.is_file() and file_digest(path) == digest
        for path, digest in zip(paths, split["digests"], strict=True)
    )


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
