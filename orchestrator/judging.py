"""What the judges of a plan will cost, before anybody is paid."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

from orchestrator.cost.online import FACT_TOKENS, PASSAGE_TOKENS, SENTENCE_TOKENS
from orchestrator.plan import Plan, PlannedStage
from results.layout import Workspace
from workers.specs.data import DataSource
from workers.specs.factuality import FactualityRecipe
from workers.specs.generate import GenerateRecipe, PromptSet
from workers.specs.judge import EndpointJudge, JudgeRecipe

ITEMS = {"alpaca_eval": 805, "realtoxicity": 99_442, "red_instruct": 200}
"""Prompts of the published sets."""
DEFAULT_ITEMS = 500
INSTRUCTION_TOKENS = 300
PROMPT_TOKENS = 100
ANSWER_TOKENS = 300
"""Tokens of a typical answer, and at most those that the generation allows."""


@dataclass(frozen=True)
class JudgingCost:
    """What is asked of services: an upper estimate, since what was judged before is not asked for again.

    `models` counts calls by the service's model. `money` is in the currency of the prices, None where one is unknown.
    """

    stages: int
    models: dict[str, int]
    read_tokens: int
    written_tokens: int
    money: float | None
    key_variables: tuple[str, ...]

    @property
    def calls(self) -> int:
        """Requests to services, without those that are repeated."""
        return sum(self.models.values())

    @property
    def text(self) -> str:
        """One clause for the person."""
        models = ", ".join(f"{count:,} of {name}" for name, count in sorted(self.models.items()))
        tokens = f"{self.read_tokens:,} tokens to read and {self.written_tokens:,} to write"
        cost = "at an unknown price" if self.money is None else f"for about {self.money:,.2f}"
        return f"at most {self.calls:,} calls of judges ({models}; {tokens}) {cost}"

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "stages": self.stages,
            "calls": self.calls,
            "models": dict(sorted(self.models.items())),
            "read_tokens": self.read_tokens,
            "written_tokens": self.written_tokens,
            "cost": self.money,
        }


def judging_cost(plan: Plan, done: Callable[[str], bool] = lambda stage: False) -> JudgingCost | None:
    """What the unfinished judge stages of a plan ask of services, or None when they ask nothing."""
    models: Counter[str] = Counter()
    read = written = stages = 0
    money: float | None = 0.0
    variables: set[str] = set()
    for stage in plan.stages:
        asked = [] if done(stage.id) else _asked(plan, stage)
        stages += bool(asked)
        for endpoint, calls, tokens in asked:
            models[endpoint.model] += calls
            read, written = read + calls * tokens, written + calls * endpoint.max_tokens
            variables.add(stage.execution.service.key_variable)
            own = money_of(endpoint, calls * tokens, calls * endpoint.max_tokens)
            money = None if own is None or money is None else money + own
    if not stages:
        return None
    return JudgingCost(stages, dict(models), read, written, money, tuple(sorted(variables)))


def money_of(endpoint: EndpointJudge, read_tokens: int, written_tokens: int) -> float | None:
    """What a service takes for so many tokens, or None where its price is unknown."""
    price = endpoint.price
    return None if price is None else (read_tokens * price.input + written_tokens * price.output) / 1e6


def unfinished(workspace: Workspace) -> Callable[[str], bool]:
    """Whether a stage is done in a workspace, which need not exist yet."""
    return lambda stage: workspace.done_file(stage).exists()


def _prompt_set(task: str, generation: GenerateRecipe | None) -> PromptSet:
    """The prompt set that is judged; one of unknown size and long answers where the plan does not tell."""
    sets = () if generation is None else generation.prompts
    unknown = PromptSet(name=task, new_tokens=ANSWER_TOKENS)
    return next((one for one in sets if one.name == task), unknown)


def _items(prompts: PromptSet) -> int:
    """How many prompts a set has, at most."""
    if prompts.limit is not None:
        return prompts.limit
    source: DataSource = prompts.source
    return (
        source.world.generation_rows if source.world is not None else ITEMS.get(prompts.format, DEFAULT_ITEMS)
    )


def _asked(plan: Plan, stage: PlannedStage) -> list[tuple[EndpointJudge, int, int]]:
    """The services that a stage asks: each with its calls, and the tokens that each call has it read."""
    recipe = stage.recipe
    if isinstance(recipe, FactualityRecipe):
        return _facts_asked(recipe, _generation(plan, stage))
    if isinstance(recipe, JudgeRecipe) and recipe.judge.endpoint is not None:
        return [(recipe.judge.endpoint, *_calls(recipe, _generation(plan, stage)))]
    return []


def _generation(plan: Plan, stage: PlannedStage) -> GenerateRecipe | None:
    parents = [plan.stages[index].recipe for role, index in stage.parents if role == "generations"]
    return parents[0] if parents and isinstance(parents[0], GenerateRecipe) else None


def _calls(recipe: JudgeRecipe, generation: GenerateRecipe | None) -> tuple[int, int]:
    pair = recipe.shape == "pairwise"
    shown = 2 if pair and recipe.orders == "both" else 1
    prompts = _prompt_set(recipe.task, generation)
    answer = min(prompts.new_tokens, ANSWER_TOKENS)
    tokens = INSTRUCTION_TOKENS + PROMPT_TOKENS + (2 if pair else 1) * answer
    return shown * _items(prompts), tokens


def _facts_asked(
    recipe: FactualityRecipe, generation: GenerateRecipe | None
) -> list[tuple[EndpointJudge, int, int]]:
    """One call for each sentence of an answer, and one for each of its facts."""
    prompts = _prompt_set(recipe.task, generation)
    words = _items(prompts) * min(prompts.new_tokens, ANSWER_TOKENS)
    knowledge = round(recipe.knowledge.passages * PASSAGE_TOKENS)
    asked = (
        (recipe.extractor.endpoint, ceil(words / SENTENCE_TOKENS), INSTRUCTION_TOKENS),
        (recipe.judge.endpoint, ceil(words / FACT_TOKENS), INSTRUCTION_TOKENS + knowledge),
    )
    return [(endpoint, calls, tokens) for endpoint, calls, tokens in asked if endpoint is not None]
