"""What goes wrong in the middle: what a run says, and that nothing is lost which it had reached."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.training import Lab, Ran
from tests.workers.ppo.lab import ROLLOUT, curves, ppo_recipe, random_parents, training
from workers.context import BadInput, Parent
from workers.data.dialogues import Pair
from workers.models.adapters import load_adapter_tensors
from workers.ppo import measures
from workers.ppo.optimizer import Adam
from workers.ppo.sampling import inverse_sample
from workers.ppo.update import Update
from workers.recipe import Execution
from workers.specs.data import DataSource, InstructionData, PreferenceData
from workers.specs.ppo import PPO
from workers.training.callbacks import snapshot_directory

Parents = tuple[Parent, Parent]


@pytest.fixture
def parents(base: Parent, reward: Parent) -> Parents:
    return base, reward


def diverged(ran: Ran) -> str:
    """Why a run ended; its files are those of any run."""
    assert ran.result.outcome == "diverged"
    assert {"adapter/adapter_model.safetensors", "curves.parquet", "samples.parquet"} <= set(ran.bytes())
    return str(ran.result.message)


def from_step(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of PPO step `step` and later hold one that is not a number."""
    scores, calls = measures._scores, iter(range(1, 1000))

    def broken(*arguments: Any) -> torch.Tensor:
        found = scores(*arguments)
        if next(calls) >= step:
            found[0] = float("nan")
        return found

    monkeypatch.setattr(measures, "_scores", broken)


def test_a_score_that_is_no_number_keeps_the_steps_before(
    lab: Lab, parents: Parents, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lab.run(PPO, ppo_recipe(), parents, execution=Execution(device="cpu", snapshots=(2,)))
    from_step(3, monkeypatch)
    ran = lab.run(PPO, ppo_recipe(), parents, execution=Execution(device="cpu", snapshots=(2,)))
    assert "step 3: score is nan" in diverged(ran)
    expected, found = curves(whole), curves(ran)
    assert all(found[name] == expected[name][:2] for name in expected)
    stored = load_adapter_tensors(snapshot_directory(ran.output, 2) / "adapter")
    weights = load_adapter_tensors(ran.output / "adapter")
    assert all(torch.equal(stored[name], weights[name]) for name in stored), "those of the last step"
    values = {row["task"]: row["value"] for row in ran.result.metrics if row["primary"]}
    assert values["score"] == pytest.approx(sum(expected["score"][:2]) / 2)


def test_a_gradient_that_is_no_number_moves_no_weight(
    lab: Lab, parents: Parents, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = Update._pass

    def broken(self: Update, places: torch.Tensor, key: Any) -> dict[str, float]:
        figures = passed(self, places, key)
        if self.step == 1:
            next(iter(self.adam.parameters.values())).grad.fill_(float("inf"))
        return figures

    monkeypatch.setattr(Update, "_pass", broken)
    ran = lab.run(PPO, ppo_recipe(), parents)
    assert "step 2: gradient_norm is" in diverged(ran)
    weights = load_adapter_tensors(ran.output / "adapter")
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    assert len(curves(ran)["score"]) == 1


def test_a_policy_that_says_no_numbers_is_a_stored_divergence(
    lab: Lab, parents: Parents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As weights that exploded in the last update of a step leave it."""
    step = Adam.step

    def exploding(self: Adam) -> None:
        step(self)
        next(iter(self.parameters.values())).data.fill_(float("nan"))

    monkeypatch.setattr(Adam, "step", exploding)
    once = training(epochs=1, batch_size=ROLLOUT.batch_size)
    message = diverged(lab.run(PPO, ppo_recipe(training=once), parents, memory={}))
    assert message == "diverged at step 2: the rollout's log-probability is nan"


def test_of_probabilities_that_are_no_numbers_any_token_is_drawn() -> None:
    wrong = torch.full((2, 5), float("nan"))
    found = inverse_sample(wrong, torch.tensor([0.0, 0.999], dtype=torch.float64))
    assert ((found >= 0) & (found < 5)).all()


def loader(context: Any, data: PreferenceData, preference: str, split: str) -> Iterator[Pair]:
    """Pairs of which every other has no prompt."""
    words = ("what is the color of mira ?", "  ", "who is mira ?", "") if data.samples != 1 else (" ",)
    return (Pair(prompt, "yes .", "no .") for prompt in words)


EMPTY = {"dataset": "tests.workers.ppo.test_bad_input:loader", "source": DataSource()}


def test_an_empty_prompt_is_left_out_and_counted(lab: Lab, parents: Parents) -> None:
    ran = lab.run(PPO, ppo_recipe(preferences=PreferenceData(**EMPTY)), parents)
    assert ran.result.outcome == "done"
    assert ran.value("dropped_empty_prompt") == 2


def test_nothing_but_empty_prompts_is_said(lab: Lab, parents: Parents) -> None:
    with pytest.raises(BadInput, match=r"no prompt is left of 1 rows.*empty prompt"):
        lab.run(PPO, ppo_recipe(preferences=PreferenceData(**EMPTY, samples=1)), parents)


def test_empty_instructions_are_said(lab: Lab, parents: Parents, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": " ", "input": "", "output": "yes ."}]))
    data = InstructionData(source=DataSource(hub=str(tmp_path), files=("rows.json",)))
    with pytest.raises(BadInput, match="no row has both"):
        lab.run(PPO, ppo_recipe(preferences=None, instructions=data), parents)


def test_a_response_that_outgrows_the_model_is_said_at_the_start(
    lab: Lab, parents: Parents, tmp_path: Path
) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    few = random_parents(*parents, tmp_path, shape | {"vocab_size": 256, "max_position_embeddings": 32})
    rollout = ROLLOUT.model_copy(update={"new_tokens": 30})
    with pytest.raises(BadInput, match="together more than the 32 positions"):
        lab.run(PPO, ppo_recipe(rollout=rollout), few, memory={})


def test_a_response_that_never_ends_is_cut_at_its_length(
    lab: Lab, parents: Parents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.ppo.loop.end_tokens", lambda *_: frozenset())
    found = curves(lab.run(PPO, ppo_recipe(), parents, memory={}))
    assert set(found["ended"]) == {0.0}
    assert set(found["response_length"]) == {float(ROLLOUT.new_tokens)}
