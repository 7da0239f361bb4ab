"""Asking before judges at services are paid."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from results.files import WorkspaceError
from results.layout import Workspace

if TYPE_CHECKING:
    from orchestrator.judging import JudgingCost
    from orchestrator.plan import Plan

MaxJudgeCost = Annotated[
    float | None,
    typer.Option(
        help="Go on without asking if judges at services cost at most this, by the prices in the grid."
    ),
]


def ask_before_paying(plan: "Plan", workspace: Workspace, limit: float | None, here: bool) -> None:
    """Ask before the judges of a plan's unfinished stages are paid; see `ask_about`."""
    from orchestrator.judging import judging_cost, unfinished

    ask_about(judging_cost(plan, unfinished(workspace)), limit, here)


def ask_about(cost: "JudgingCost | None", limit: float | None, here: bool) -> None:
    """Ask before judges are paid; where the workers run `here`, see that they have their keys.

    Nothing is asked when the estimate is within `limit`, or when the prices say that it costs nothing.

    Raises:
        WorkspaceError: a key is missing, there is nobody to ask, or the answer is no.
    """
    if cost is None:
        return
    missing = [name for name in cost.key_variables if here and not os.environ.get(name, "").strip()]
    if missing:
        raise WorkspaceError(
            f"the judges need a key: set the environment variable {', '.join(missing)} "
            "(any word for a service of your own that wants none)"
        )
    if cost.money is not None and cost.money <= (limit or 0.0):
        return
    text = f"this needs {cost.text}"
    if limit is not None and cost.money is not None:
        text += f", more than the limit of {limit:g}"
    if not sys.stdin.isatty() or not typer.confirm(f"{text}. Go on?"):
        remedy = (
            "give the judge's `price`, then --max-judge-cost says how much may be spent"
            if cost.money is None
            else "--max-judge-cost says how much may be spent"
        )
        raise WorkspaceError(f"{text}; {remedy}")
