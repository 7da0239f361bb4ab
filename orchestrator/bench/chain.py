"""Which stages of a plan are measured, and those that they stand on, all cut short."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.bench.shortening import rows_needed, shortened
from orchestrator.plan import Plan, PlannedStage
from workers.failures import whole_batch
from workers.recipe import Execution
from workers.stage import Stage

NEVER = 1e12
"""Seconds until the next recovery checkpoint: writing one is no part of a step."""


@dataclass(frozen=True)
class Link:
    """A stage of the plan, cut short.

    `parents` are (role, place in the chain), each before it. A `shown` one is reported; the others are only stood on.
    `skipped` says why it is not run.
    """

    planned: PlannedStage
    place: int
    stage: Stage
    parents: tuple[tuple[str, int], ...]
    execution: Execution
    shown: bool
    skipped: str | None = None


def chain_of(plan: Plan, steps: int) -> list[Link]:
    """Of each stage of the pipeline the costliest of the plan, after all that it stands on."""
    chosen = costliest(plan.stages)
    wanted = sorted(ancestry(plan, chosen))
    rows = max((rows_needed(plan.stages[index].recipe, steps) for index in wanted), default=1)
    links: list[Link] = []
    places: dict[int, int] = {}
    for index in wanted:
        places[index] = len(links)
        links.append(
            _link(plan, index, links, places, shortened(plan.stage(index).recipe, steps, rows), chosen)
        )
    return links


def stood_on(links: list[Link], place: int) -> bool:
    """Whether a stage that is run stands on the one at `place`."""
    return any(place in [parent for _, parent in link.parents] for link in links if link.skipped is None)


def as_one_process(link: Link) -> Execution:
    """The execution without its division, with the rows at once that one of the processes would take."""
    run = link.execution
    share = max(1, whole_batch(link.stage.recipe) // run.processes)
    return run.model_copy(
        update={"strategy": "single", "processes": 1, "micro_batch": min(run.micro_batch or share, share)}
    )


def costliest(stages: Iterable[PlannedStage]) -> set[int]:
    """The index of the most expensive stage under each name of the pipeline; of equal ones the first."""
    found: dict[str, tuple[float, int]] = {}
    for index, stage in enumerate(stages):
        if stage.name not in found or stage.cost > found[stage.name][0]:
            found[stage.name] = (stage.cost, index)
    return {index for _, index in found.values()}


def ancestry(plan: Plan, chosen: Iterable[int]) -> set[int]:
    """The chosen stages and all that they stand on."""
    found: set[int] = set()
    pending = list(chosen)
    while pending:
        index = pending.pop()
        if index not in found:
            found.add(index)
            pending.extend(parent for _, parent in plan.stages[index].parents)
    return found


def _link(
    plan: Plan, index: int, links: list[Link], places: dict[int, int], recipe: Any, chosen: set[int]
) -> Link:
    planned = plan.stages[index]
    parents = tuple((role, places[parent]) for role, parent in planned.parents)
    stage = Stage.create(
        planned.kind, recipe, tuple((role, links[place].stage.id) for role, place in parents)
    )
    execution = planned.execution.model_copy(
        update={
            "snapshots": (),
            "checkpoint_seconds": NEVER,
            "checkpoint_steps": None,
            "report_to": (),
        }
    )
    reason = "it asks a service, which costs money" if _asks_a_service(recipe.model_dump()) else None
    if reason is None:
        reason = next((_stands_on(links[place]) for _, place in parents if links[place].skipped), None)
    return Link(planned, index, stage, parents, execution, index in chosen, reason)


def _asks_a_service(given: Any) -> bool:
    """Whether a recipe names an endpoint."""
    if isinstance(given, dict):
        return bool(given.get("endpoint")) or any(map(_asks_a_service, given.values()))
    return isinstance(given, list | tuple) and any(map(_asks_a_service, given))


def _stands_on(link: Link) -> str:
    return f"it stands on {link.planned.name!r}, which was not run"
