"""`analyze`: what quantization does within a trained model, beside its loss (quantization study, section 7.3)."""

from typing import Literal

from pydantic import Field, model_validator

from workers.kinds import Kind
from workers.recipe import Recipe, refused
from workers.specs.quantized import QuantizedTraining

Analysis = Literal[
    "sharpness",
    "outliers",
    "gradient_histogram",
    "output_error",
    "gradient_fidelity",
    "measured_memory",
    "measured_time",
]
"""Each is a task of the store under its own name. All but `measured_time` give equal figures every time."""

REPEATABLE: tuple[Analysis, ...] = (
    "sharpness",
    "outliers",
    "gradient_histogram",
    "output_error",
    "gradient_fidelity",
    "measured_memory",
)


class AnalyzeRecipe(Recipe):
    """Analyses of the `pretrain` parent in role `trained`, with its own quantizers; `curves.parquet` has their series.

    They look at the first mini-batches, at most `batches` and each of `batch_size` sequences, of the training in its
    order or of its `split` for validation; in evaluation mode (no dropout) and in the type of the weights (no
    autocast). `step` takes the weights after that optimizer step. `quantization` puts other quantizers on the weights
    than those that the training had: a post-training control.

    `radius` is rho of m-sharpness; `deviations` the standard deviations above the mean from which a channel or a
    token is an outlier; `bins` those of the histograms; `repeats` the steps that `measured_time` takes each way.
    """

    analyses: tuple[Analysis, ...] = REPEATABLE
    step: int | None = Field(default=None, ge=1)
    split: Literal["train", "validation"] = "train"
    batches: int = Field(default=4, ge=1)
    batch_size: int = Field(default=16, ge=1)
    quantization: QuantizedTraining | None = None
    radius: float = Field(default=0.05, gt=0)
    deviations: float = Field(default=6.0, gt=0)
    bins: int = Field(default=256, ge=2)
    repeats: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _each_once(self) -> "AnalyzeRecipe":
        if not self.analyses or len(set(self.analyses)) < len(self.analyses):
            raise refused("analyses must be named, each once")
        return self


ANALYZE = Kind("analyze", 1, AnalyzeRecipe, "workers.stages.analyze:run", roles=("trained",))
