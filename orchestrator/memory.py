"""More memory for stages that ran out of it: half as much again with each proven failure, up to what a node has."""

from dataclasses import replace
from typing import Any

from cluster.backend import Backend
from orchestrator.dispatch import Work, WorkItem
from orchestrator.view import View
from workers.recipe import Resources

FACTOR = 1.5


def raise_memory(view: View, work: Work, backend: Backend) -> Work:
    """`work` with larger shapes for the stages whose attempts ended out of host memory.

    None grows above the largest node that `backend` could give it.
    """
    shapes = dict(work.shapes)
    items = [_raised(view, item, shapes, backend) for item in work.items]
    return replace(work, items=items, shapes=shapes)


def _raised(view: View, item: WorkItem, shapes: dict[str, dict[str, Any]], backend: Backend) -> WorkItem:
    failures = sum(one["ending"] == "host_out_of_memory" for one in view.index.standing(item.stage))
    if not failures or item.shape not in shapes:
        return item
    needs = Resources.model_validate(shapes[item.shape])
    wanted = round(needs.memory_gb * FACTOR**failures, 1)
    limit = backend.memory_limit_gb(shapes[item.shape]) or wanted
    larger = needs.model_copy(update={"memory_gb": min(wanted, max(limit, needs.memory_gb))})
    shapes[larger.shape] = larger.model_dump(mode="json")
    return replace(item, shape=larger.shape)
