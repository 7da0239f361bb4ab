"""`tokenize`: plain text as shards of token ids that trainings map into memory."""

from typing import Literal

from pydantic import Field, model_validator

from workers.kinds import Kind
from workers.recipe import Recipe, Settings, refused
from workers.specs.data import DataSource
from workers.specs.model import ModelRecipe


class Corpus(Settings):
    """Documents of one split: the `column` of every row, or with `paragraph` each part between blank lines of it.

    `limit` takes only so many, from the first on.
    """

    source: DataSource = DataSource()
    split: str = "train"
    column: str = "text"
    documents: Literal["row", "paragraph"] = "row"
    limit: int | None = Field(default=None, ge=1)


class TokenizeRecipe(Recipe):
    """Token ids of a corpus, split into training and validation; output `tokens/` and its `tokenizer/`.

    The tokenizer is that of `tokenizer_model` where it is given, else what `tokenizer` holds.
    Validation documents are those of `validation`, or else the share `held_out` of the corpus, by a hash of
    `split_seed` and their number. `marks` are the tokenizer's own around each document; `prefix_space` begins each
    with a space, as the study does. Documents are taken `batch_documents` at a time; with `block` the tokens of a
    batch beyond a multiple of it are dropped (quantization study, section 3). A shard holds `shard_tokens`.
    """

    tokenizer: DataSource = DataSource()
    tokenizer_model: ModelRecipe | None = None
    corpus: Corpus = Corpus()
    validation: Corpus | None = None
    held_out: float = Field(default=0.0, ge=0, lt=1)
    split_seed: int = 2345
    marks: tuple[Literal["start", "end"], ...] = ("end",)
    prefix_space: bool = False
    batch_documents: int = Field(default=1000, ge=1)
    block: int | None = Field(default=None, ge=2)
    shard_tokens: int = Field(default=1 << 25, ge=2)

    @model_validator(mode="after")
    def _one_validation_split(self) -> "TokenizeRecipe":
        if self.validation is not None and self.held_out > 0:
            raise refused("validation documents come from `validation` or from `held_out`, not from both")
        return self


TOKENIZE = Kind("tokenize", 1, TokenizeRecipe, "workers.stages.tokenize:run")
