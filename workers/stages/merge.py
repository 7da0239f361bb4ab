"""Runs `merge`: checks that the parents merge, and leaves `merge.json`, from which the model is rebuilt."""

from typing import Any

import torch

from results.files import json_bytes, write_atomic
from workers.context import StageContext, StageResult, metric
from workers.models.merging.dense import tensors_digest
from workers.models.merging.parents import common_base
from workers.models.merging.rebuild import FILE, compute_merge
from workers.specs.merge import MergeRecipe
from workers.training.seeding import prepare


def run(recipe: MergeRecipe, context: StageContext) -> StageResult:
    """Merge once for the digest, and leave `output/merge.json`.

    Raises:
        BadInput: the parents do not fit each other, the method, or their base.
    """
    prepare(recipe)
    parents = [parent for parent in context.parents if parent.role == "merged"]
    source = common_base(context, parents)
    context.progress(0, 1)
    tensors = compute_merge(context, recipe, parents, source)
    with context.phase("save"):
        content: dict[str, Any] = {
            "version": 1,
            "recipe": recipe.model_dump(mode="json"),
            "base": source.key,
            "parents": [parent.stage.id for parent in parents],
            "digest": tensors_digest(tensors),
            "tensors": len(tensors),
        }
        write_atomic(context.output / FILE, json_bytes(content))
    context.progress(1, 1)
    entries = sum(tensor.numel() for tensor in tensors.values())
    norm = torch.stack([tensor.float().square().sum() for tensor in tensors.values()]).sum().sqrt()
    return StageResult(
        [
            metric("merge", len(tensors), metric="tensors", primary=True),
            metric("merge", entries, metric="entries"),
            metric("merge", float(norm), metric="norm"),
        ]
    )
