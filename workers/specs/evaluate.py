"""`evaluate`: benchmarks on a base model, an adapter or a merge."""

from typing import Literal

from pydantic import Field

from workers.kinds import Kind
from workers.recipe import Recipe, Settings
from workers.specs.data import DataSource, PreferenceData, Template
from workers.specs.model import ModelRecipe, QuantizationRecipe


class Benchmark(Settings):
    """One benchmark.

    `task` names a built-in (`mmlu`, `bbh`, `perplexity`, `windowed_perplexity`, `safety`, `helpfulness`,
    `preference_accuracy`, or a few-shot set such as `mnli`), or the `module:object` of a user's own; `name` is what
    its figures are called instead of that. `limit` bounds its items, evenly spaced. `shots` are the examples before
    each item; a few-shot set draws them anew for every item with each of the seeds `draws`. `stride` is that of the
    windows of `windowed_perplexity`. `preferences` are the held-out pairs of `preference_accuracy`, one entry for
    each set; the first set is the experiment's own.
    """

    task: str
    name: str | None = None
    source: DataSource = DataSource()
    limit: int | None = Field(default=None, ge=1)
    shots: int = Field(default=0, ge=0)
    draws: tuple[int, ...] = ()
    stride: int | None = Field(default=None, ge=1)
    new_tokens: int = Field(default=16, ge=1)
    preferences: tuple[PreferenceData, ...] = ()


class EvaluateRecipe(Recipe):
    """Each benchmark's metrics for the model of the parent in role `trained` (or `base`, or `model` alone).

    `step` evaluates the training at that optimizer step instead of its end. `quantization` is the precision of
    the base under an adapter; `as-trained` in a grid means that of the training. `quantizers: as-trained` puts on the
    quantizers that a `pretrain` parent was trained with. Generation is greedy.
    """

    model: ModelRecipe = ModelRecipe()
    quantization: QuantizationRecipe | None = None
    quantizers: Literal["off", "as-trained"] = "off"
    template: Template = Template()
    benchmarks: tuple[Benchmark, ...] = ()
    step: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=16, ge=1)
    max_length: int = Field(default=2048, ge=2)
    keep_samples: Literal["none", "generations", "all"] = "generations"


EVALUATE = Kind("evaluate", 1, EvaluateRecipe, "workers.stages.evaluate:run", roles=("base", "trained"))
