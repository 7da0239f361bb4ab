"""`pretrain`: a causal language model from random weights on plain text."""

from pydantic import Field, model_validator

from workers.kinds import Kind
from workers.recipe import Recipe, Settings, refused
from workers.specs.data import DataSource, TextData
from workers.specs.model import ModelRecipe, ModelShape
from workers.specs.quantized import QuantizedTraining
from workers.specs.training import Training


class DivergenceRule(Settings):
    """When a pre-training counts as diverged (section 7.4), beside a loss that is not finite.

    The mean of the last `window` losses exceeds its running minimum by `excess` nats for `patience` of the run's
    steps in a row; or the validation loss exceeds `validation_limit` after `validation_after` of the run.
    """

    window: int = Field(default=10, ge=1)
    excess: float = Field(default=1.0, gt=0)
    patience: float = Field(default=2000 / 300_000, gt=0, le=1)
    validation_limit: float = Field(default=5.5, gt=0)
    validation_after: float = Field(default=0.1, ge=0, le=1)


class PretrainRecipe(Recipe):
    """Next-token training of `model.shape` on packed blocks of `data`; output `model/` with its tokenizer.

    With a parent in role `tokens` (kind `tokenize`) tokens and tokenizer are its own, and of `data` only `block`
    counts. `quantization` computes with tensors of few bits; the model that is left has the weights as they are.
    `divergence` replaces the rule of `training.divergence`.
    """

    model: ModelRecipe = ModelRecipe(shape=ModelShape())
    tokenizer: DataSource = DataSource()
    data: TextData = TextData()
    training: Training = Training()
    quantization: QuantizedTraining | None = None
    divergence: DivergenceRule | None = None

    @property
    def plain_head(self) -> bool:
        """Whether the output head computes with its weights as they are."""
        return self.quantization is None or not (self.quantization.linear and self.quantization.head)

    @model_validator(mode="after")
    def _combination_makes_sense(self) -> "PretrainRecipe":
        shape, quantization = self.model.shape, self.quantization
        if shape is not None and shape.architecture == "gpt2" and self.data.block > shape.context:
            raise refused(f"blocks of {self.data.block} tokens exceed the model's context of {shape.context}")
        if quantization is None:
            return self
        if quantization.moments and self.training.optimizer != "adamw_torch":
            raise refused(
                f"quantized moments are those of optimizer 'adamw_torch', not {self.training.optimizer!r}"
            )
        if quantization.tying == "broken" and shape is not None and not shape.tie_embeddings:
            raise refused(
                "tying 'broken' needs a model that ties its head: `model.shape.tie_embeddings: true`"
            )
        return self


PRETRAIN = Kind(
    "pretrain", 1, PretrainRecipe, "workers.stages.pretrain:run", roles=("tokens",), distributed=True
)
