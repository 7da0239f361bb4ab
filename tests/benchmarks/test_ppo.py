"""A PPO step of ours against one of TRL's PPO trainer: same batch, models, lengths, trained parameters.

    YATES_TRL_PPO=/path/to/python python -m pytest tests/benchmarks/test_ppo.py -m benchmark -s

TRL's trainer ended with its version 1.12, so it runs in an environment of its own, whose interpreter the variable
names. Both take their steps in turn, one thread each; every response has its full length on either side. TRL takes the
log-probabilities of its own generation as the old ones; ours does so between the steps at which it reads whole
distributions (true KL, entropies), which it may also do at every step.
"""

import json
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.training import PREFERENCES, VICUNA, Lab, base_of
from tests.workers.ppo.lab import random_parents, reward_of
from workers.context import Parent
from workers.ppo.backbones import borrowed_models
from workers.ppo.loop import Loop
from workers.ppo.prompts import Tokens
from workers.specs.model import LoraRecipe
from workers.specs.ppo import PPO, PpoRecipe, PpoTraining, Regularizer, Rollout

SAMPLES = 5
BAR = 1.2
INTERPRETER = os.environ.get("YATES_TRL_PPO")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
SIZES = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 160, "vocab_size": 256},
    "eight layers of SmolLM2-135M": {"hidden_size": 576, "num_hidden_layers": 8, "num_attention_heads": 9,
             "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49_152},
}  # fmt: skip
BATCHES = {"tiny": (32, 20), "eight layers of SmolLM2-135M": (8, 32)}
"""Episodes of a PPO step, and tokens of each response."""
PROMPT = 192 / 300
"""The longest prompt's share of a response, as in the study (section 5)."""
Step = Callable[[], tuple[float, int, int]]
"""Takes a step; its processor seconds, sampled tokens, trained parameters."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("ppo"))


def recipe(size: str, every: int = 1) -> PpoRecipe:
    episodes, tokens = BATCHES[size]
    return PpoRecipe(
        adapter=LoraRecipe(rank=8, alpha=64, dropout=0.0, target_modules=ATTENTION),
        preferences=PREFERENCES,
        template=VICUNA,
        rollout=Rollout(batch_size=episodes, new_tokens=tokens, prompt_tokens=40, distributions_every=every),
        regularizer=Regularizer(penalty="kl", coefficient=0.05),
        training=PpoTraining(steps=1000, batch_size=episodes, epochs=2, learning_rate=1e-4, warmup_steps=0),
    )


def random_prompts(new_tokens: int) -> list[Tokens]:
    """Ragged prompts, of at least half the longest one's tokens."""
    source, longest = random.Random(0), round(PROMPT * new_tokens)
    return [
        tuple(source.randrange(5, 200) for _ in range(source.randint(longest // 2, longest)))
        for _ in range(64)
    ]


@contextmanager
def ours(
    lab: Lab, settings: PpoRecipe, given: tuple[Parent, Parent], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A step of our loop, and the prompts that it takes."""
    monkeypatch.setattr("workers.ppo.loop.end_tokens", lambda *_: frozenset())
    context = lab.context(lab.stage(PPO, settings, given), given, memory={})
    torch.set_num_threads(1)
    with borrowed_models(context, settings) as models:
        prompts = random_prompts(settings.rollout.new_tokens)
        loop = Loop(context, settings, models, prompts, end_mark=False)
        models.evaluate()

        def step() -> tuple[float, int, int]:
            before, started = loop.state.tokens, time.process_time()
            loop._step()
            seconds = time.process_time() - started
            return seconds, loop.state.tokens - before, sum(one.numel() for one in loop.parameters.values())

        yield step, prompts


@contextmanager
def theirs(size: str, given: tuple[Parent, Parent], prompts: list[Tokens], scratch: Path) -> Iterator[Step]:
    """A step of TRL's trainer, in a process of its own."""
    settings = recipe(size)
    job = {
        "policy": str(given[0].output / "model"),
        "reward": str(given[1].output / "model"),
        "prompts": prompts,
        "batch_size": settings.rollout.batch_size,
        "new_tokens": settings.rollout.new_tokens,
        "epochs": settings.training.epochs,
        "learning_rate": settings.training.learning_rate,
        "adapter": {"r": 8, "lora_alpha": 64, "target_modules": list(ATTENTION)},
    }
    (scratch / "job.json").write_text(json.dumps(job))
    command = [INTERPRETER, str(Path(__file__).with_name("trl_ppo.py")), str(scratch / "job.json")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=scratch
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def step() -> tuple[float, int, int]:
            assert process.stdin is not None and process.stdout is not None
            print(file=process.stdin, flush=True)
            line = next(one for one in process.stdout if one.startswith("STEP "))
            answer = json.loads(line.removeprefix("STEP "))
            return answer["seconds"], answer["tokens"], answer["trained"]

        yield step
        process.stdin.close()


@pytest.mark.benchmark
@pytest.mark.skipif(INTERPRETER is None, reason="YATES_TRL_PPO names no interpreter that has trl 1.12")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("every", [1000, 1], ids=["as TRL", "distributions at every step"])
@pytest.mark.parametrize("size", SIZES)
def test_a_ppo_step(lab: Lab, size: str, every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_of(lab)
    given = random_parents(base, reward_of(lab, base), tmp_path, SIZES[size])
    seconds: dict[str, list[float]] = {"ours": [], "TRL": []}
    with (
        ours(lab, recipe(size, every), given, monkeypatch) as (our_step, prompts),
        theirs(size, given, prompts, tmp_path) as their_step,
    ):
        assert our_step()[1:] == their_step()[1:], "tokens and trained parameters are equal; a warm-up"
        for _ in range(SAMPLES):
            for name, step in (("ours", our_step), ("TRL", their_step)):
                seconds[name].append(step()[0])
    ratios = [other / own for own, other in zip(seconds["ours"], seconds["TRL"], strict=True)]
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"\n{size}, distributions every {every}: a PPO step takes {median['ours']:.2f} s, TRL's {median['TRL']:.2f} s: "
        f"{statistics.median(ratios):.2f} times faster ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    assert statistics.median(ratios) >= (BAR if every > 1 else 1.0)
