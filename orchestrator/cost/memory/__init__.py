"""Bytes that a stage needs where it computes, from its model's shape alone: no weights are read.

`held` has a model's weights, `layers` what a layer keeps for its backward pass, `heads` the logits, `steps` the highest
moment of a training step, `inference` that of passes without gradients, `reinforcement` PPO's, `stages` those of a
recipe, `batches` the largest micro-batch that fits. docs/memory.md holds the terms, what they were checked against, and
a table at paper scale.
"""

from orchestrator.cost.memory.batches import Need, needed_gigabytes, stage_need
from orchestrator.cost.memory.footprint import GB, Footprint
from orchestrator.cost.memory.stages import stage_footprint

__all__ = ["GB", "Footprint", "Need", "needed_gigabytes", "stage_footprint", "stage_need"]
