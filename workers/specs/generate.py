"""`generate`: a model's answers to prompts, kept so that they can be judged again without the model."""

from typing import Literal, Self

from pydantic import Field, model_validator

from workers.kinds import Kind
from workers.recipe import Recipe, Settings, refused
from workers.specs.data import DataSource, Template
from workers.specs.model import ModelRecipe, QuantizationRecipe


class PromptSet(Settings):
    """Prompts that are answered under one name, such as `alpacaeval`.

    `format` says how the rows of `source` are written: `alpaca_eval`, `realtoxicity`, `red_instruct`, text whose
    every line is a prompt (`lines`), or rows with a field `prompt`; `prompt_field` names another field, with dots into
    nested ones (`prompt.text`).
    Of the rows, `only` keeps those in which that field is true; `rank_by` takes the `limit` rows in which
    that field is largest, else they are evenly spaced.

    `wording` stands around each prompt, with `{prompt}` in its place; `prompt_file` is the user's own such text. What
    comes of that is put in the recipe's chat template, or with `wrap: plain` given to the model as it is. A prompt that
    leaves no room for `new_tokens` is dropped and counted.
    """

    name: str
    source: DataSource = DataSource()
    format: Literal["prompts", "alpaca_eval", "realtoxicity", "red_instruct", "lines"] = "prompts"
    prompt_field: str | None = None
    only: str | None = None
    rank_by: str | None = None
    limit: int | None = Field(default=None, ge=1)
    wording: str = "{prompt}"
    prompt_file: DataSource | None = None
    wrap: Literal["template", "plain"] = "template"
    new_tokens: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _one_text(self) -> Self:
        if "{prompt}" not in self.wording:
            raise refused(f"`wording` of prompt set {self.name!r} lacks {{prompt}}, where the prompt belongs")
        if self.prompt_file is not None and self.wording != "{prompt}":
            raise refused(f"prompt set {self.name!r} has both `wording` and `prompt_file`; one is enough")
        return self


class GenerateRecipe(Recipe):
    """Answers of the parent in role `trained` (or `base`, or `model` alone) to every prompt of every set.

    Greedy at temperature 0. Above it tokens are drawn from the smallest set of tokens whose probability reaches
    `top_p`, by numbers that the seed, the set and the item give: neither batches nor other items count. Of `best_of`
    answers to a prompt the one is kept that the parent in role `reward` scores highest. `step`, `quantization` and
    `template` are as in `evaluate`.

    Output `samples.parquet`: one row for each prompt set and item.
    """

    model: ModelRecipe = ModelRecipe()
    quantization: QuantizationRecipe | None = None
    template: Template = Template()
    prompts: tuple[PromptSet, ...] = ()
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    best_of: int = Field(default=1, ge=1)
    step: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=16, ge=1)
    max_length: int = Field(default=2048, ge=2)

    @model_validator(mode="after")
    def _different_draws(self) -> Self:
        if self.best_of > 1 and self.temperature == 0:
            raise refused(
                f"best_of {self.best_of} needs a temperature above 0: greedy answers are all the same"
            )
        return self


GENERATE = Kind(
    "generate", 1, GenerateRecipe, "workers.stages.generate:run", roles=("base", "trained", "reward")
)
