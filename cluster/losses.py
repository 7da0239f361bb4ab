"""Ending the attempts of a supervisor that died without a word, as the cluster says that it died."""

import secrets

from results.files import WorkspaceError, read_json_or_none
from results.journal import Index, Journal
from results.layout import Workspace
from results.records import AttemptRecord, Ending
from workers.attempts import lost_record


def end_attempts(workspace: Workspace, index: Index, name: str, ending: Ending, message: str) -> int:
    """Write the ending of all that the dead supervisor `name` held, or that was given up as lost; return how many.

    What it had ended or committed itself is left as it is.
    """
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
    count = 0
    for stage, token in sorted(held | given_up):
        attempt = _read_attempt(workspace, stage, token)
        if attempt is not None and attempt["ending"] is None:
            ended = lost_record(attempt, workspace.attempt(stage, token))
            ended["ending"], ended["message"] = ending, message
            journal.ended(ended)
            count += 1
    return count


def _read_attempt(workspace: Workspace, stage: str, token: str) -> AttemptRecord | None:
    try:
        record: AttemptRecord | None = read_json_or_none(workspace.attempt(stage, token) / "attempt.json")
    except WorkspaceError:
        return None
    return record
