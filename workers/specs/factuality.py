"""`factuality`: how much of what kept answers state is supported by a knowledge source (FActScore)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from workers.kinds import Kind
from workers.recipe import Recipe, Settings, refused
from workers.specs.data import DataSource
from workers.specs.judge import CausalJudge, ClassifierJudge, EndpointJudge
from workers.specs.model import ModelRecipe


class Choice(Settings):
    """Settings of which one is given, and no more."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) > 1:
            allowed = ", ".join(type(self).model_fields)
            raise refused(f"one of {allowed} is wanted; given are {', '.join(given)}")
        return self

    @property
    def kind(self) -> str:
        """The name of the one that is given, or nothing."""
        return next((name for name in type(self).model_fields if getattr(self, name) is not None), "")


class CausalExtractor(Settings):
    """A local language model that writes out the facts of a sentence, greedily, in at most `new_tokens` tokens."""

    model: ModelRecipe = ModelRecipe()
    chat: bool = True
    new_tokens: int = Field(default=200, ge=1)


class Extractor(Choice):
    """Who breaks an answer into atomic facts.

    `rule: claims` reads the sentences of the embedded world that have the form of its facts, and is exact there;
    `rule: sentences` takes every sentence for one fact. A language model or a service is asked sentence by sentence.
    """

    rule: Literal["claims", "sentences"] | None = None
    causal: CausalExtractor | None = None
    endpoint: EndpointJudge | None = None


class Verifier(Choice):
    """Who says whether a fact is supported.

    `rule: truth` knows what is true of the embedded world. The others are judges that read the knowledge and the fact:
    a classifier whose logit of `label` is above zero where the text supports the fact, a language model, a service.
    """

    rule: Literal["truth"] | None = None
    classifier: ClassifierJudge | None = None
    causal: CausalJudge | None = None
    endpoint: EndpointJudge | None = None


class Knowledge(Settings):
    """Where facts are looked up: texts by their topic, which is the prompt of an answer.

    The fields are found by their usual names (`title`, `topic` or `name`; `text` or `biography`) unless named. A
    `.db` file is FActScore's own form, a table `documents` of titles and texts. Of a topic's text, cut into passages
    of `passage_words` words, the `passages` nearest to the fact are read.
    """

    source: DataSource = DataSource()
    topic_field: str | None = None
    text_field: str | None = None
    passages: int = Field(default=5, ge=1)
    passage_words: int = Field(default=180, ge=1)


class FactualityRecipe(Recipe):
    """FActScore of the answers to one prompt set of the parent in role `generations` (Min et al., arXiv 2305.14251).

    An answer's score is the share of its facts that are supported; the figure is the mean over the answers that state
    any. The penalised score of an answer with n facts, fewer than `gamma`, is smaller by `exp(1 - gamma / n)`.

    `task` is the prompt set, whose bare prompts are the topics, `name` what the figures are called. The texts that
    the judges are asked with can be one's own: `extraction` with `{prompt}` (the topic) and `{answer}` (a sentence),
    `instruction` with `{prompt}` (the knowledge) and `{answer}` (a fact); `labels` are its answers (supported, not).

    A fact whose verdict cannot be read is left out, or counts as unsupported; it is counted in either case. So is an
    answer whose list of facts cannot be read, or whose topic the knowledge source does not hold; both are left out.
    """

    task: str = ""
    name: str = "factscore"
    extractor: Extractor = Extractor()
    judge: Verifier = Verifier()
    extraction: DataSource | None = None
    instruction: DataSource | None = None
    labels: tuple[str, ...] = ("true", "false")
    knowledge: Knowledge = Knowledge()
    gamma: float = Field(default=10.0, ge=0)
    unparsed: Literal["excluded", "unsupported"] = "excluded"
    batch_size: int = Field(default=16, ge=1)
    max_length: int = Field(default=2048, ge=2)

    @model_validator(mode="after")
    def _two_labels(self) -> Self:
        if len(self.labels) != 2:
            raise refused("`labels` are two words: for a fact that is supported, and for one that is not")
        return self


FACTUALITY = Kind("factuality", 1, FactualityRecipe, "workers.stages.factuality:run", roles=("generations",))
