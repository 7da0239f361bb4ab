"""Costs of the quantization study's other stages: tokens, analyses, few-shot sets, perplexities."""

from typing import Any

import pytest

from orchestrator.cost import architecture_of
from orchestrator.cost.text import corpus_tokens
from tests.orchestrator.test_cost import CPU, seconds
from workers.evaluation.benchmark import FEW_SHOT
from workers.kinds import find_kind
from workers.specs.tokenize import Corpus

OPENWEBTEXT = {"hub": "Skylion007/openwebtext"}
SHAPE = {
    "architecture": "gpt2",
    "hidden_size": 64,
    "layers": 2,
    "heads": 4,
    "intermediate_size": 256,
    "context": 64,
}
TRAINED = find_kind("pretrain").recipe.model_validate({"model": {"shape": SHAPE}, "data": {"block": 64}})
TINY = architecture_of(TRAINED)


def tokenize(threads: int = 1, **corpus: Any) -> float:
    return seconds("tokenize", {"corpus": {"source": OPENWEBTEXT, **corpus}, "threads": threads}, CPU)


def test_openwebtext_has_nine_billion_tokens() -> None:
    """Quantization study, section 3."""
    assert corpus_tokens(Corpus.model_validate({"source": OPENWEBTEXT})) == pytest.approx(9.0e9, rel=0.01)
    assert corpus_tokens(Corpus.model_validate({"source": OPENWEBTEXT, "limit": 1000})) == pytest.approx(
        1.12e6, rel=0.01
    )


def test_tokens_cost_by_their_number_and_threads_share_it() -> None:
    assert tokenize(limit=200_000) == pytest.approx(2 * tokenize(limit=100_000), rel=0.01)
    assert 8 * tokenize(16) > tokenize(1) > 4 * tokenize(16), "one of them gathers and writes"
    assert tokenize(limit=860) == pytest.approx(2.0, rel=0.1), "measured: a million tokens in 2.0 s"


def test_an_embedded_world_takes_no_time() -> None:
    assert seconds("tokenize", {"corpus": {"source": {"world": {}}}}, CPU) < 1
    assert seconds("tokenize", {"corpus": {"source": {"hub": "my/corpus"}, "limit": 10}}, CPU) < 1


def analyse(**recipe: Any) -> float:
    return seconds("analyze", recipe, CPU, roles=("trained",), given={"trained": TRAINED}, architecture=TINY)


def test_the_tiny_arm_s_analyses_take_about_a_second() -> None:
    """Measured: 1.0 processor seconds for all but the timed ones, 0.7 for ten timed steps each way."""
    assert 0.5 < analyse() < 2
    assert 0.3 < analyse(analyses=["measured_time"]) < 1.4


def test_analyses_grow_with_mini_batches_and_add_up() -> None:
    start = analyse(analyses=["outliers"], batches=1) - analyse(analyses=["outliers"], batches=2) / 2
    assert analyse(batches=8) > 1.8 * (analyse(batches=4) - 2 * start)
    assert analyse() > analyse(analyses=["sharpness"]) > analyse(analyses=["outliers"])
    assert analyse(analyses=["measured_time"], repeats=20) > analyse(analyses=["measured_time"])


@pytest.mark.parametrize("task", FEW_SHOT)
def test_few_shot_sets_grow_with_shots_and_draws(task: str) -> None:
    def asked(**settings: Any) -> float:
        benchmark = {"task": task, "source": {"hub": "any"}, **settings}
        return seconds("evaluate", {"benchmarks": [benchmark], "max_length": 1024})

    load = seconds("evaluate", {})
    once, more = asked() - load, asked(shots=5) - load
    assert more > 2 * once
    assert asked(draws=[1, 2, 3]) - load == pytest.approx(3 * once, rel=0.15), "batches are whole"


def test_windows_are_as_long_as_allowed() -> None:
    def asked(longest: int) -> float:
        benchmark = {"task": "windowed_perplexity", "source": {"hub": "any"}}
        return seconds("evaluate", {"benchmarks": [benchmark], "max_length": longest})

    load = seconds("evaluate", {})
    assert asked(1024) - load > 1.8 * (asked(512) - load)
