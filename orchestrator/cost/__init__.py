"""Expected seconds of a stage from operations and bytes, corrected by measured attempts at stages like it.

From a model's shape alone (its `config.json`, or a known hub id): no weights are read. `architecture` has the shapes,
`lengths` the tokens of the data, `passes` the work of a batch, `accelerators` the time that work takes, `training` and
`inference` the stages; `memory` has the bytes, `calibration` what measured attempts say of both. docs/cost.md holds the
predictions against published times.
"""

from orchestrator.cost.accelerators import GPUS, Accelerator, Work, accelerator_for
from orchestrator.cost.architecture import (
    FALLBACK,
    Architecture,
    Architectures,
    architecture_of,
    brings_model,
)
from orchestrator.cost.stages import expected_seconds

__all__ = [
    "FALLBACK",
    "GPUS",
    "Accelerator",
    "Architecture",
    "Architectures",
    "Work",
    "accelerator_for",
    "architecture_of",
    "brings_model",
    "expected_seconds",
]
