"""Which log files belong to an experiment."""

from pathlib import Path

from orchestrator.view import Experiment, View
from results.files import WorkspaceError, read_json_or_none


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
