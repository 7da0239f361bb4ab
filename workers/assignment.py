"""An assignment: what a supervisor tells its child about one attempt, and the surroundings that follow from it."""

from pathlib import Path
from typing import Any

from results.layout import Workspace
from workers.attempts import read_commit
from workers.context import Parent, StageContext, TransientFailure
from workers.messages import Message
from workers.recipe import Execution
from workers.stage import Stage

SHARES = "ranks"
"""The directory of an attempt in which processes other than the first leave what nobody reads."""


def context_of(workspace: Workspace, assignment: Message, rank: int = 0, **others: Any) -> StageContext:
    """The context of the attempt that a `run` message names, as process `rank` of it sees it.

    What rank 0 writes is the attempt's; each other one has a directory below `ranks/` of its own.

    Raises:
        TransientFailure: a parent is not committed.
    """
    stage = Stage.read(workspace, assignment["stage"])
    attempt = workspace.attempt(stage.id, assignment["token"])
    attempt = attempt / SHARES / str(rank) if rank else attempt
    (attempt / "output").mkdir(parents=True, exist_ok=True)
    return StageContext(
        workspace=workspace,
        stage=stage,
        attempt=attempt,
        parents=[_parent(workspace, role, parent) for role, parent in stage.parents],
        execution=Execution.model_validate(assignment["execution"]),
        resume_from=Path(assignment["resume_from"]) if assignment["resume_from"] else None,
        hub_map=assignment["hub_map"],
        rank=rank,
        **others,
    )


def _parent(workspace: Workspace, role: str, identity: str) -> Parent:
    commit = read_commit(workspace, identity)
    if commit is None:
        raise TransientFailure(f"parent {identity} in role {role} is not committed")
    output = workspace.output(identity, commit["attempt"])
    return Parent(role, Stage.read(workspace, identity), output, commit["metrics"])
