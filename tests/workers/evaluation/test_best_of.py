"""Best-of-n: which answers are drawn, which is kept, what is said about the choice, and going on in the middle."""

import math
import shutil

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tests.support.training import VICUNA, WORLD, Lab, base_of
from tests.workers.ppo.lab import reward_of
from workers.checkpoints import newest_of
from workers.context import BadInput, Parent, StageStopped
from workers.evaluation.best_of import kl_bound
from workers.online.reward import RewardModel
from workers.recipe import Execution
from workers.specs.generate import GENERATE, GenerateRecipe, PromptSet

PROMPTS = PromptSet(
    name="toxic", source=WORLD.model_copy(update={"files": ("toxic/test.jsonl",)}), limit=5, new_tokens=6
)


def recipe_of(count: int, **others: object) -> GenerateRecipe:
    given = {"template": VICUNA, "prompts": (PROMPTS,), "temperature": 1.0, "batch_size": 8, "max_length": 64}
    return GenerateRecipe(**given | {"best_of": count} | others)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("best"))


@pytest.fixture(scope="module")
def parents(lab) -> tuple[Parent, Parent]:
    base = base_of(lab)
    return base, reward_of(lab, base)


def samples(ran) -> list[dict]:
    return pq.read_table(ran.output / "samples.parquet").to_pylist()


def figures(ran) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in ran.result.metrics}


@pytest.fixture(scope="module")
def eight(lab, parents):
    return lab.run(GENERATE, recipe_of(8), parents)


def test_the_kept_answer_scores_highest_of_those_of_every_smaller_n(lab, parents, eight):
    kept = {
        count: samples(lab.run(GENERATE, recipe_of(count), parents if count > 1 else parents[:1]))
        for count in (1, 2, 4)
    }
    for item, best in enumerate(samples(eight)):
        scores = [kept[count][item]["score"] for count in (2, 4)] + [best["score"]]
        assert scores == sorted(scores)
        assert kept[1][item]["score"] is None
        if scores[0] == scores[-1]:
            assert kept[2][item]["completion"] == best["completion"]
    found = figures(eight)
    assert found["score"] == pytest.approx(sum(row["score"] for row in samples(eight)) / 5)
    assert found["score"] > found["score_mean"]
    assert (found["best_of"], found["kl_bound"]) == (8, pytest.approx(math.log(8) - 7 / 8))
    assert kl_bound(1) == 0.0


def test_one_draw_is_the_first_of_several(lab, parents, monkeypatch):
    monkeypatch.setattr(RewardModel, "score", lambda self, prompts, answers, ended: [0.0 for _ in prompts])
    several = lab.run(GENERATE, recipe_of(3), parents)
    alone = lab.run(GENERATE, recipe_of(1), parents[:1])
    assert [row["completion"] for row in samples(several)] == [row["completion"] for row in samples(alone)]


def test_the_end_mark_is_shown_only_to_a_model_that_was_trained_with_it():
    seen: list[list[int]] = []

    class Watching(RewardModel):
        def _batch(self, rows):
            seen.extend(list(row) for row in rows)
            return [float(len(row)) for row in rows]

    for end_mark in (False, True):
        scores = Watching(None, end_mark, 4).score([[1, 5], [1]], [[7, 2], [8, 9]], [True, False])
        assert scores == [3.0 + end_mark, 3.0]
    assert sorted(seen) == [[1, 5, 7], [1, 5, 7, 2], [1, 8, 9], [1, 8, 9]]


def test_parts_and_a_stop_change_nothing(lab, parents, eight):
    in_parts = lab.run(GENERATE, recipe_of(8), parents, execution=Execution(device="cpu", micro_batch=3))
    assert samples(in_parts) == samples(eight)
    told: list[int] = []
    stage = lab.stage(GENERATE, recipe_of(8), parents)
    first = lab.context(stage, parents)
    first.on_progress = lambda step, total: told.append(step)
    first.stop_requested = lambda: len(told) >= 3
    with pytest.raises(StageStopped):
        GENERATE.load_runner()(recipe_of(8), first)
    checkpoint = newest_of(list(first.checkpoints.iterdir()))
    again = lab.run(GENERATE, recipe_of(8), parents, resume_from=checkpoint)
    assert (samples(again), again.result.metrics) == (samples(eight), eight.result.metrics)


def test_greedy_answers_are_all_the_same():
    with pytest.raises(ValidationError, match="best_of 4 needs a temperature above 0"):
        recipe_of(4, temperature=0.0)


def test_a_reward_model_is_needed_and_reads_the_same_tokens(lab, parents, tmp_path):
    with pytest.raises(BadInput, match="`generate` needs a parent in role `reward`"):
        lab.run(GENERATE, recipe_of(2), parents[:1])
    base, reward = parents
    shutil.copytree(reward.output, tmp_path / "output")
    file = tmp_path / "output" / "model" / "tokenizer.json"
    file.write_text(file.read_text().replace('"mira"', '"mirax"'))
    other = Parent("reward", reward.stage, tmp_path / "output", [])
    with pytest.raises(BadInput, match="another tokenizer"):
        lab.run(GENERATE, recipe_of(2), (base, other), memory={})


def test_wording_stands_around_a_prompt_that_is_a_line_of_text(lab, parents, tmp_path):
    (tmp_path / "names.txt").write_text("mira\n\nbren\n")
    given = {"name": "people", "source": {"hub": str(tmp_path), "files": ["names.txt"]}, "format": "lines"}
    asked = [
        PromptSet.model_validate({**given, "new_tokens": 4, "wording": wording})
        for wording in ("{prompt}", "tell me about {prompt}.")
    ]
    plain, worded = (
        samples(lab.run(GENERATE, recipe_of(1, temperature=0.0, prompts=(one,)), parents[:1]))
        for one in asked
    )
    assert [row["prompt"] for row in worded] == [row["prompt"] for row in plain] == ["mira", "bren"]
    assert [row["completion"] for row in worded] != [row["completion"] for row in plain]


@pytest.mark.parametrize(
    ("others", "said"),
    [({"wording": "no place"}, "lacks {prompt}"), ({"wording": "a {prompt}", "prompt_file": {}}, "has both")],
)
def test_a_wording_has_a_place_for_the_prompt_and_is_the_only_one(others, said):
    with pytest.raises(ValidationError, match=said):
        PromptSet.model_validate({"name": "people", **others})
