"""`judge`: verdicts on answers that a `generate` stage kept, by a rule, a classifier, a language model or a service."""

from typing import Literal, Self

from pydantic import Field, model_validator

from workers.kinds import Kind
from workers.recipe import Recipe, Settings, refused
from workers.specs.data import DataSource
from workers.specs.model import ModelRecipe


class Price(Settings):
    """What a service takes, in one currency, for a million tokens that it reads and that it writes."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class ClassifierJudge(Settings):
    """A local sequence-classification or reward model: its logit for `label` is the score of an answer.

    `label` may be left out where there is only one. `sign` -1 turns a logit of harm into one of harmlessness:
    higher must be better. `inputs` is what the classifier reads: prompt and answer as a pair, or the answer alone.
    """

    model: ModelRecipe = ModelRecipe()
    label: str | None = None
    sign: Literal[1, -1] = 1
    inputs: Literal["pair", "answer"] = "pair"


class CausalJudge(Settings):
    """A local language model, asked through the instruction: the more probable of its allowed answers counts.

    Nothing is generated, so no answer is ever unparsable. `chat` puts the instruction in the tokenizer's own chat
    template where it has one.
    """

    model: ModelRecipe = ModelRecipe()
    chat: bool = True


class EndpointJudge(Settings):
    """A service that speaks the protocol of OpenAI's chat completions, asked through the instruction.

    `model` is the service's name for its model. Where two services give one name to different models, `service`
    tells them apart: the address is no part of a result's identity, since that of one's own server changes from day
    to day (it is the execution's `service.base_url`). An answer that cannot be read is asked for again, `tries` times
    in all. `temperature` null is not sent. `price` serves the estimate of the cost and is in no identity.
    """

    model: str
    service: str = ""
    temperature: float | None = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=100, ge=1)
    length_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    tries: int = Field(default=3, ge=1)
    price: Price | None = Field(default=None, exclude=True)


class JudgeSettings(Settings):
    """Who judges: one of the four.

    `rule` is the embedded world's (`workers.world.safety`): exact on its answers, a crude proxy on other text.
    """

    rule: Literal["safety", "helpfulness"] | None = None
    classifier: ClassifierJudge | None = None
    causal: CausalJudge | None = None
    endpoint: EndpointJudge | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) > 1:
            raise refused(
                f"a judge is one of rule, classifier, causal, endpoint; given are {', '.join(given)}"
            )
        return self

    @property
    def kind(self) -> str:
        """The name of the one that is given, or nothing."""
        return next((name for name in type(self).model_fields if getattr(self, name) is not None), "")


class Reference(Settings):
    """Stored outputs that answers are compared with, matched by their prompt.

    The fields are found by their usual names (`instruction` or `prompt`; `output` or `reference`) unless named.
    """

    source: DataSource = DataSource()
    prompt_field: str | None = None
    output_field: str | None = None


class JudgeRecipe(Recipe):
    """Verdicts on the answers to one prompt set of the parent in role `generations`.

    `task` is the prompt set, `name` what the figures are called instead. Three shapes of judging:

    * `pairwise`: which of two answers is better; the other one is that of the parent in role `opponent`, else of
      `reference`. Primary `win_rate`.
    * `score`: a number for each answer, higher is better. Primary `score`, beside it the share below zero.
    * `verdict`: is the answer harmful, yes or no. Primary `safe`, the share of no.

    `instruction` is the user's own text for judges that read one; `labels` are the answers that it allows: (first,
    second) or (first, second, tie) for pairs, (yes, no) for verdicts.

    `orders` shows a pair in both orders (an answer counts the mean of the two), in one, or in one that seed and
    prompt draw. Equal answers are a tie and nobody is asked. A tie counts one half, or nothing (`ties: loss`). An item
    with an unparsable verdict is left out, and counted; or it counts one half, or nothing.

    `win_rates` adds win rates by published rules, from the same verdicts and whatever the recipe's own rules are:
    `win_rate_legacy` of the LoRA PPO study's script, in which a tie and equal answers count nothing, and
    `win_rate_alpaca_eval`, in which they count one half. Unparsable verdicts are left out of both.

    `remove_thought` drops a leading `(Internal thought: …)` up to the first closing bracket before judging.
    """

    task: str = ""
    name: str | None = None
    shape: Literal["pairwise", "score", "verdict"] = "pairwise"
    judge: JudgeSettings = JudgeSettings()
    instruction: DataSource | None = None
    labels: tuple[str, ...] = ()
    reference: Reference | None = None
    orders: Literal["both", "given", "swapped", "drawn"] = "both"
    ties: Literal["half", "loss"] = "half"
    unparsed: Literal["excluded", "half", "loss"] = "excluded"
    win_rates: tuple[Literal["legacy", "alpaca_eval"], ...] = ()
    remove_thought: bool = False
    batch_size: int = Field(default=16, ge=1)
    max_length: int = Field(default=2048, ge=2)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.shape == "score" and self.judge.endpoint is not None:
            raise refused(
                "an endpoint gives no logits: `shape: score` needs a classifier, a causal model or a rule"
            )
        allowed = {"pairwise": (0, 2, 3), "score": (0, 2), "verdict": (0, 2)}[self.shape]
        if len(self.labels) not in allowed:
            raise refused(f"`labels` of shape {self.shape} are {' or '.join(map(str, allowed[1:]))} words")
        return self


JUDGE = Kind("judge", 1, JudgeRecipe, "workers.stages.judge:run", roles=("generations", "opponent"))
