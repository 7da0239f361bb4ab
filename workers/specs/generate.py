"""`generate`: a model's answers to prompts, kept so that they can be judged again without the model."""

from typing import Literal

from pydantic import Field

from workers.kinds import Kind
from workers.recipe import Recipe, Settings
from workers.specs.data import DataSource, Template
from workers.specs.model import ModelRecipe, QuantizationRecipe


class PromptSet(Settings):
    """Prompts that are answered under one name, such as `alpacaeval`.

    `format` says how the rows of `source` are written: `alpaca_eval`, `realtoxicity`, `red_instruct`, or rows
    with a field `prompt`; `prompt_field` names another field, with dots into nested ones (`prompt.text`).
    Of the rows, `only` keeps those in which that field is true; `rank_by` takes the `limit` rows in which
    that field is largest, else they are evenly spaced.

    `prompt_file` is the user's own text around each prompt, with `{prompt}` in its place. What comes of that is
    put in the recipe's chat template, or with `wrap: plain` given to the model as it is. A prompt that leaves no
    room for `new_tokens` is dropped and counted.
    """

    name: str
    source: DataSource = DataSource()
    format: Literal["prompts", "alpaca_eval", "realtoxicity", "red_instruct"] = "prompts"
    prompt_field: str | None = None
    only: str | None = None
    rank_by: str | None = None
    limit: int | None = Field(default=None, ge=1)
    prompt_file: DataSource | None = None
    wrap: Literal["template", "plain"] = "template"
    new_tokens: int = Field(default=128, ge=1)


class GenerateRecipe(Recipe):
    """Answers of the parent in role `trained` (or `base`, or `model` alone) to every prompt of every set.

    Greedy at temperature 0. Above it tokens are drawn from the smallest set of tokens whose probability reaches
    `top_p`, by numbers that the seed, the set and the item give: neither batches nor other items count. `step`,
    `quantization` and `template` are as in `evaluate`.

    Output `samples.parquet`: one row for each prompt set and item.
    """

    model: ModelRecipe = ModelRecipe()
    quantization: QuantizationRecipe | None = None
    template: Template = Template()
    prompts: tuple[PromptSet, ...] = ()
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    step: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=16, ge=1)
    max_length: int = Field(default=2048, ge=2)


GENERATE = Kind("generate", 1, GenerateRecipe, "workers.stages.generate:run", roles=("base", "trained"))
