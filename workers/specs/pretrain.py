"""`pretrain`: a causal language model from random weights on plain text."""

from workers.kinds import Kind
from workers.recipe import Recipe
from workers.specs.data import DataSource, TextData
from workers.specs.model import ModelRecipe, ModelShape
from workers.specs.training import Training


class PretrainRecipe(Recipe):
    """Next-token training of `model.shape` on packed blocks of `data`; output `model/` with its tokenizer."""

    model: ModelRecipe = ModelRecipe(shape=ModelShape())
    tokenizer: DataSource = DataSource()
    data: TextData = TextData()
    training: Training = Training()


PRETRAIN = Kind("pretrain", 1, PretrainRecipe, "workers.stages.pretrain:run")
