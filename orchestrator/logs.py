"""Which log files belong to an experiment."""

import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.view import Experiment, View
from results.files import WorkspaceError, read_json_or_none

FOLLOW_SECONDS = 0.5


def log_files(view: View, experiment: Experiment) -> list[Path]:
    """The logs of the supervisors that made attempts at the experiment's own stages, oldest first."""
    names: dict[str, None] = {}
    for stage in experiment.stages.values():
        for attempt in sorted(view.workspace.attempts(stage).glob("*/attempt.json")):
            try:
                record = read_json_or_none(attempt)
            except WorkspaceError:
                continue
            if record is not None:
                names[record["supervisor"]] = None
    paths = [view.workspace.logs / f"{name}.log" for name in names]
    return [path for path in paths if path.exists()]


def tail_of(path: Path, lines: int) -> str:
    """The last lines of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def follow_logs(view: View, experiment: Experiment) -> Iterator[str]:
    """What is printed from now on, for ever; logs of workers that start meanwhile are followed too."""
    places = {path: path.stat().st_size for path in log_files(view, experiment)}
    while True:
        time.sleep(FOLLOW_SECONDS)
        for path in log_files(view, experiment):
            with path.open(errors="replace") as stream:
                stream.seek(places.get(path, 0))
                text = stream.read()
                places[path] = stream.tell()
            if text:
                yield text
