"""What a search has seen so far: every report of every trial, and whom it stopped; files below `searches/`.

Tune's own notes forget what its schedulers had compared, so a search that goes on is told from here. Lines are
appended by whoever runs a trial; a torn last line is passed over.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.search import Search
from results.files import publish_once
from results.layout import Workspace

Report = tuple[int, float]


@dataclass(frozen=True)
class Ledger:
    """The notes of one search in one workspace."""

    directory: Path

    @classmethod
    def of(cls, workspace: Workspace, search: Search) -> "Ledger":
        """The notes of `search`: one folder for the same trials under the same settings."""
        content = "\n".join([*sorted(search.trials), search.settings.model_dump_json()])
        name = hashlib.sha256(content.encode()).hexdigest()[:16]
        return cls(workspace.root.resolve() / "searches" / name)

    def note(self, stage: str, report: Report) -> None:
        """Append a report."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / f"{stage}.jsonl", "a") as stream:
            stream.write(json.dumps(report) + "\n")

    def reports(self, stage: str) -> list[Report]:
        """The reports of a stage by rising step, the last word on each step."""
        try:
            lines = (self.directory / f"{stage}.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        return sorted({step: (step, value) for step, value in _parsed(lines)}.values())

    def stop(self, stage: str) -> None:
        """Note that the search stops a stage: the stage's actor asks before it gives up."""
        publish_once(self.directory / f"{stage}.stopped", b"")

    def stopped(self, stage: str) -> bool:
        """Whether the search stopped it."""
        return (self.directory / f"{stage}.stopped").exists()

    def release(self, stage: str) -> None:
        """Forget that it was stopped."""
        (self.directory / f"{stage}.stopped").unlink(missing_ok=True)


def _parsed(lines: list[str]) -> Iterator[Report]:
    for line in lines:
        try:
            step, value = json.loads(line)
            yield int(step), float(value)
        except (ValueError, TypeError):
            continue
