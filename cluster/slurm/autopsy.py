"""How jobs that are gone ended, as attempts: from what Slurm reports, never from its silence.

A dead job says nothing itself. Its open attempts are ended here: as timed out, out of memory or preempted where
the accounting says so, else as lost, which is never held against a stage. Nodes that lose jobs are remembered.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.losses import end_attempts
from cluster.slurm.queue import LIVE, Ended, read_accounting
from results.files import WorkspaceError, json_bytes, read_json_or_none, write_atomic
from results.journal import Index
from results.layout import Workspace
from results.records import Ending

ENDINGS: dict[str, tuple[Ending, str]] = {
    "TIMEOUT": ("timeout", "the job reached its time limit"),
    "DEADLINE": ("timeout", "the job reached its deadline"),
    "OUT_OF_MEMORY": ("host_out_of_memory", "Slurm ended the job: out of memory"),
    "PREEMPTED": ("preempted", "Slurm preempted the job"),
    "CANCELLED": ("preempted", "the job was cancelled"),
    "REQUEUED": ("preempted", "the job was requeued"),
}
LOSSES_TO_EXCLUDE = 3
LAG_SECONDS = 10.0
NODE_FAILED = "node_failed"


@dataclass(frozen=True)
class Death:
    """A supervisor that ended without a word: its record, and how Slurm says that its job ended."""

    record: dict[str, Any]
    ending: Ending
    message: str
    node_failed: bool = False

    @property
    def node(self) -> str:
        """The node that it ran on."""
        return str(self.record.get("node") or self.record["host"])


def perform(workspace: Workspace, index: Index, lives: Mapping[str, bool | None]) -> list[Death]:
    """End the open attempts of dead jobs; return what died. `lives` tells of each supervisor, None for unknown.

    Supervisors that are not known to be dead are left alone.
    """
    dead = [record for record in slurm_supervisors(workspace) if lives.get(record["name"]) is False]
    fresh = [record for record in dead if "ending" not in record]
    accounting = _settled_accounting(fresh)
    deaths = [_death(record, accounting.get(str(record["job"]), [])) for record in fresh]
    for death in deaths:
        end_attempts(workspace, index, death.record["name"], death.ending, death.message)
        _remember(workspace, death)
    return deaths


def losses(workspace: Workspace) -> Counter[str]:
    """How many jobs each node has lost."""
    return Counter(
        record.get("node") or record["host"]
        for record in slurm_supervisors(workspace)
        if record.get("ending") == NODE_FAILED
    )


def bad_nodes(workspace: Workspace, nodes: int | None) -> tuple[str, ...]:
    """Nodes that have lost so many jobs that the next ones keep away; never more than half of `nodes`."""
    worst = [node for node, count in losses(workspace).most_common() if count >= LOSSES_TO_EXCLUDE]
    return tuple(sorted(worst if nodes is None else worst[: nodes // 2]))


def forgive_nodes(workspace: Workspace) -> None:
    """Forget what nodes have lost."""
    for record in slurm_supervisors(workspace):
        if record.get("ending") == NODE_FAILED:
            (workspace.supervisors / f"{record['name']}.json").unlink(missing_ok=True)


def slurm_supervisors(workspace: Workspace) -> list[dict[str, Any]]:
    """The records of supervisors in Slurm's jobs that have not taken their leave."""
    found = []
    for path in sorted(workspace.supervisors.glob("*.json")):
        try:
            record = read_json_or_none(path)
        except WorkspaceError:
            continue
        if record is not None and record["backend"] == "slurm":
            found.append(record)
    return found


def _settled_accounting(records: list[dict[str, Any]]) -> dict[str, list[Ended]]:
    """How the jobs of dead supervisors ended; asked again for a while where the accounting lags behind."""
    jobs = {str(record["job"]) for record in records}
    deadline = time.monotonic() + LAG_SECONDS
    while True:
        known = read_accounting(job.split("_")[0] for job in jobs)
        lags = known and any(not _final(known.get(job, [])) for job in jobs)
        if not lags or time.monotonic() > deadline:
            return known
        time.sleep(1.0)


def _final(runs: list[Ended]) -> bool:
    """Whether a run of the job is known to have ended."""
    return any(run.state not in LIVE and run.state != "COMPLETING" for run in runs)


def _death(record: dict[str, Any], runs: list[Ended]) -> Death:
    """What Slurm says of the run in which the supervisor died: of several runs, the last that ended on its node."""
    over = [run for run in runs if run.state not in LIVE]
    on_node = [run for run in over if record.get("node") in ("", None, run.nodes)]
    state = (on_node or over)[-1].state if over else ""
    ending, message = ENDINGS.get(state, ("lost", f"its job ended ({state or 'Slurm does not say how'})"))
    failed = state in ("NODE_FAIL", "BOOT_FAIL")
    if failed:
        message = f"node {record.get('node') or record['host']} failed"
    return Death(record, ending, message, failed)


def _remember(workspace: Workspace, death: Death) -> None:
    """Keep the record of a job that died with its node, which counts against that; drop any other."""
    path = workspace.supervisors / f"{death.record['name']}.json"
    if death.node_failed:
        write_atomic(path, json_bytes({**death.record, "ending": NODE_FAILED}))
    else:
        path.unlink(missing_ok=True)
