"""`reference`: log-probabilities of the frozen reference, computed once for all DPO runs that share it."""

from pydantic import Field

from workers.kinds import Kind
from workers.recipe import Recipe
from workers.specs.data import PreferenceData, Template
from workers.specs.model import ModelRecipe, QuantizationRecipe


class ReferenceRecipe(Recipe):
    """Summed response log-probabilities `l_ref(y_w)`, `l_ref(y_l)` of every drawn pair, dropout off.

    Output `logprobs.parquet`, keyed by the content of the tokenised pair. `quantization` is that of the runs
    that use it: the reference of QLoRA is the quantized base.
    """

    model: ModelRecipe = ModelRecipe()
    quantization: QuantizationRecipe | None = None
    preferences: PreferenceData = PreferenceData()
    template: Template = Template()
    batch_size: int = Field(default=16, ge=1)


REFERENCE = Kind("reference", 1, ReferenceRecipe, "workers.stages.reference:run", roles=("base",))
