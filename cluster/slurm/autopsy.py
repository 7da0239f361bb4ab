"""How jobs that are gone ended, as attempts: from what Slurm reports, never from its silence.

A dead job says nothing itself. Its open attempts are ended here: as timed out, out of memory or preempted where
the accounting says so, else as lost, which is never held against a stage. Nodes that lose jobs are remembered.
"""

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.slurm.queue import Ended, read_accounting
from results.files import WorkspaceError, json_bytes, read_json_or_none, write_atomic
from results.journal import Index, Journal
from results.layout import Workspace
from results.records import AttemptRecord, Ending
from workers.attempts import lost_record

ENDINGS: dict[str, tuple[Ending, str]] = {
    "TIMEOUT": ("timeout", "the job reached its time limit"),
    "DEADLINE": ("timeout", "the job reached its deadline"),
    "OUT_OF_MEMORY": ("host_out_of_memory", "Slurm ended the job: out of memory"),
    "PREEMPTED": ("preempted", "Slurm preempted the job"),
    "CANCELLED": ("preempted", "the job was cancelled"),
    "REQUEUED": ("preempted", "the job was requeued"),
}
LOSSES_TO_EXCLUDE = 3


@dataclass(frozen=True)
class Death:
    """A supervisor that ended without a word: its record, and how Slurm says that its job ended."""

    record: dict[str, Any]
    ending: Ending
    message: str

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
    accounting = read_accounting(str(record["job"]).split("_")[0] for record in fresh)
    deaths = [_death(record, accounting.get(_element(record), [])) for record in fresh]
    for death in deaths:
        _end_attempts(workspace, index, death)
        _remember(workspace, death)
    return deaths


def losses(workspace: Workspace) -> Counter[str]:
    """How many jobs each node has lost."""
    return Counter(
        record.get("node") or record["host"]
        for record in slurm_supervisors(workspace)
        if record.get("ending") == "lost"
    )


def bad_nodes(workspace: Workspace, nodes: int | None) -> tuple[str, ...]:
    """Nodes that have lost so many jobs that the next ones keep away; never more than half of `nodes`."""
    worst = [node for node, count in losses(workspace).most_common() if count >= LOSSES_TO_EXCLUDE]
    return tuple(sorted(worst if nodes is None else worst[: nodes // 2]))


def forgive_nodes(workspace: Workspace) -> None:
    """Forget what nodes have lost."""
    for record in slurm_supervisors(workspace):
        if record.get("ending") == "lost":
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


def _element(record: Mapping[str, Any]) -> str:
    """The element as the accounting writes it: a job that is no array has no index."""
    return str(record["job"])


def _death(record: dict[str, Any], runs: list[Ended]) -> Death:
    """What Slurm says of the run in which the supervisor died: of several runs, the last that ended on its node."""
    on_node = [run for run in runs if record.get("node") in ("", None, run.nodes)]
    state = (on_node or runs)[-1].state if runs else ""
    ending, message = ENDINGS.get(state, ("lost", f"its job ended ({state or 'Slurm does not say how'})"))
    if state == "NODE_FAIL":
        message = f"node {record.get('node') or record['host']} failed"
    return Death(record, ending, message)


def _end_attempts(workspace: Workspace, index: Index, death: Death) -> None:
    """Write the ending of everything that the dead supervisor still held, or that was given up as lost."""
    name = death.record["name"]
    held = {
        (stage, token) for stage, claims in index.open.items() for token, who in claims.items() if who == name
    }
    given_up = {
        (stage, one["token"])
        for stage, records in index.endings.items()
        for one in records
        if one["supervisor"] == name and one["ending"] == "lost"
    }
    journal = Journal(workspace, f"autopsy-{secrets.token_hex(4)}")
    for stage, token in sorted(held | given_up):
        attempt = _read_attempt(workspace, stage, token)
        if attempt is not None and attempt["ending"] is None:
            ended = lost_record(attempt, workspace.attempt(stage, token))
            ended["ending"], ended["message"] = death.ending, death.message
            journal.ended(ended)


def _read_attempt(workspace: Workspace, stage: str, token: str) -> AttemptRecord | None:
    try:
        record: AttemptRecord | None = read_json_or_none(workspace.attempt(stage, token) / "attempt.json")
    except WorkspaceError:
        return None
    return record


def _remember(workspace: Workspace, death: Death) -> None:
    """Keep the record of a lost job, which counts against its node; drop that of any other."""
    path = workspace.supervisors / f"{death.record['name']}.json"
    if death.ending == "lost":
        write_atomic(path, json_bytes({**death.record, "ending": "lost"}))
    else:
        path.unlink(missing_ok=True)
