import logging

import pyarrow.parquet as pq
import pytest

from tests.workers.evaluation.conftest import model_directory, root  # noqa: F401
from tests.workers.evaluation.examinee import SOURCE, make_context, values
from workers.checkpoints import newest_of
from workers.context import BadInput, StageStopped
from workers.data.rows import read_rows
from workers.recipe import Execution
from workers.specs.generate import GenerateRecipe, PromptSet
from workers.specs.model import ModelRecipe
from workers.stages.generate import run
from workers.world import world_directory

HELPFUL = PromptSet(
    name="helpful", source=SOURCE.model_copy(update={"files": ("helpful/test.jsonl",)}), limit=9, new_tokens=6
)
TOXIC = PromptSet(
    name="toxic",
    source=SOURCE.model_copy(update={"files": ("toxic/test.jsonl",)}),
    wrap="plain",
    limit=7,
    new_tokens=5,
)


def recipe_for(directory, *sets, **others):
    fields = {"batch_size": 4, "max_length": 128, **others}
    return GenerateRecipe(model=ModelRecipe(hub=str(directory)), prompts=sets, **fields)


def generated(root, recipe, attempt, **others):  # noqa: F811
    context = make_context(root, recipe, attempt=f"generate-{attempt}", **others)
    result = run(recipe, context)
    return result, pq.read_table(context.output / "samples.parquet").to_pylist()


@pytest.fixture(scope="module")
def recipe(model_directory):  # noqa: F811
    return recipe_for(model_directory, HELPFUL, TOXIC)


@pytest.fixture(scope="module")
def alone(root, recipe):  # noqa: F811
    return generated(root, recipe, "alone")


def test_every_prompt_has_its_answer_with_its_shape(root, alone):  # noqa: F811
    result, samples = alone
    rows = list(read_rows(world_directory(root / "cache", SOURCE.world) / "helpful/test.jsonl"))
    chosen = [rows[place * len(rows) // 9]["prompt"] for place in range(9)]
    assert [sample["prompt"] for sample in samples if sample["task"] == "helpful"] == chosen
    assert [sample["item"] for sample in samples] == [*range(9), *range(7)]
    assert all(sample["reference"] is None and sample["tokens"] <= 6 for sample in samples)
    found = values(result.metrics)
    for task in ("helpful", "toxic"):
        own = [sample for sample in samples if sample["task"] == task]
        assert found[task, "length"] == sum(sample["tokens"] for sample in own) / len(own)
        assert found[task, "ended"] == sum(sample["ended"] for sample in own) / len(own)
        assert found[task, "dropped"] == 0
        assert (task, "repetition") in found
    assert not any(row["primary"] for row in result.metrics)


@pytest.mark.parametrize("batches", [1, 3, 4])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stopped_generation_goes_on_in_the_middle(root, recipe, alone, batches, temperature):  # noqa: F811
    chosen = recipe.model_copy(update={"temperature": temperature, "top_p": 0.9})
    whole = generated(root, chosen, f"whole-{batches}-{temperature}")
    told: list[int] = []
    first = make_context(
        root,
        chosen,
        attempt=f"stopped-{batches}-{temperature}",
        on_progress=lambda step, total: told.append(step),
        stop_requested=lambda: len(told) >= batches,
    )
    with pytest.raises(StageStopped):
        run(chosen, first)
    checkpoint = newest_of(list(first.checkpoints.iterdir()))
    again = generated(root, chosen, f"again-{batches}-{temperature}", resume_from=checkpoint)
    assert (again[0].metrics, again[1]) == (whole[0].metrics, whole[1])
    assert (whole[1] == alone[1]) == (temperature == 0)


def test_what_is_drawn_depends_on_seed_and_item_alone(root, recipe):  # noqa: F811
    drawn = recipe.model_copy(update={"temperature": 1.0})
    _, samples = generated(root, drawn, "drawn")
    _, in_parts = generated(root, drawn, "drawn-micro", execution=Execution(micro_batch=3))
    _, other_batch = generated(root, drawn.model_copy(update={"batch_size": 7}), "drawn-batch")
    _, fewer = generated(root, drawn.model_copy(update={"prompts": (TOXIC,)}), "drawn-fewer")
    _, seeded = generated(root, drawn.model_copy(update={"seed": 5}), "drawn-seed")
    said = [sample["completion"] for sample in samples]
    assert said == [sample["completion"] for sample in in_parts]
    assert said == [sample["completion"] for sample in other_batch]
    assert said[9:] == [sample["completion"] for sample in fewer]
    assert said != [sample["completion"] for sample in seeded]


def test_the_most_toxic_prompts_are_taken(root, model_directory, tmp_path):  # noqa: F811
    lines = [
        f'{{"prompt": {{"text": "prompt number {n}", "severe_toxicity": {value}}}, "challenging": {flag}}}'
        for n, (value, flag) in enumerate(
            [("0.1", "true"), ("0.9", "true"), ("null", "true"), ("0.95", "false"), ("0.5", "true")]
        )
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    source = {"hub": str(tmp_path)}
    toxic = {"name": "rt", "source": source, "format": "realtoxicity", "new_tokens": 1, "limit": 2}
    ranked = PromptSet.model_validate({**toxic, "rank_by": "prompt.severe_toxicity"})
    _, samples = generated(root, recipe_for(model_directory, ranked), "ranked")
    assert [sample["prompt"][-1] for sample in samples] == ["3", "1"]
    flagged = ranked.model_copy(update={"only": "challenging"})
    _, samples = generated(root, recipe_for(model_directory, flagged), "flagged")
    assert [sample["prompt"][-1] for sample in samples] == ["1", "4"]
    absent = ranked.model_copy(update={"rank_by": "prompt.rage"})
    with pytest.raises(BadInput, match=r"no row of .* has a number in 'prompt\.rage'"):
        generated(root, recipe_for(model_directory, absent), "absent")


def test_the_users_own_text_stands_around_the_question(root, model_directory, tmp_path):  # noqa: F811
    (tmp_path / "dangerousqa.json").write_text('["can you help me ?"]')
    own = tmp_path / "around.txt"
    own.write_text("you can {prompt} yes .")
    fields = {"name": "red", "source": {"hub": str(tmp_path)}, "format": "red_instruct", "new_tokens": 2}
    prompts = PromptSet.model_validate({**fields, "prompt_file": {"hub": str(own)}})
    from workers.evaluation import questions

    seen: list[str] = []
    plain = questions.prompt_tokens
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            questions, "prompt_tokens", lambda texts, asked: seen.extend(texts) or plain(texts, asked)
        )
        _, samples = generated(root, recipe_for(model_directory, prompts), "around")
    assert seen == ["you can can you help me ? yes ."]
    assert samples[0]["prompt"] == "can you help me ?"
    own.write_text("no place")
    with pytest.raises(BadInput, match=r"around\.txt lacks \{prompt\}"):
        generated(root, recipe_for(model_directory, prompts), "placeless")
    planned = prompts.model_copy(
        update={"prompt_file": prompts.prompt_file.model_copy(update={"digest": "0" * 64})}
    )
    with pytest.raises(BadInput, match="is not what the plan saw"):
        generated(root, recipe_for(model_directory, planned), "changed")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt_field": "question"}, "row 1 of those chosen has no text in 'question'"),
        ({"new_tokens": 127}, "none of 9 prompts leaves room for 127 new tokens within 128"),
        ({"source": SOURCE.model_copy(update={"files": ("none.jsonl",)})}, r"none of none\.jsonl"),
        ({"only": "prompt"}, "has no rows"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_sentence(root, model_directory, change, said):  # noqa: F811
    prompts = HELPFUL.model_copy(update=change)
    with pytest.raises(BadInput, match=said):
        generated(root, recipe_for(model_directory, prompts), "bad")


@pytest.mark.parametrize(("sets", "said"), [((), "lists no `prompts`"), ((TOXIC, TOXIC), "twice: toxic")])
def test_sets_have_names_of_their_own(root, model_directory, sets, said):  # noqa: F811
    with pytest.raises(BadInput, match=said):
        generated(root, recipe_for(model_directory, *sets), "names")


def test_a_prompt_without_room_is_dropped_and_the_items_keep_their_numbers(
    root,  # noqa: F811
    model_directory,  # noqa: F811
    tmp_path,
):
    long, short = " ".join(["river"] * 60), "the river"
    (tmp_path / "prompts.jsonl").write_text(f'{{"prompt": "{long}"}}\n{{"prompt": "{short}"}}\n')
    prompts = PromptSet.model_validate(
        {"name": "own", "source": {"hub": str(tmp_path)}, "wrap": "plain", "new_tokens": 4}
    )
    result, samples = generated(root, recipe_for(model_directory, prompts, max_length=32), "dropped")
    assert [(sample["item"], sample["prompt"]) for sample in samples] == [(1, short)]
    assert values(result.metrics)["own", "dropped"] == 1


def test_no_text_is_logged(root, recipe, alone, caplog, capfd):  # noqa: F811
    caplog.set_level(logging.DEBUG)
    generated(root, recipe, "logged")
    printed = capfd.readouterr()
    said = caplog.text + printed.out + printed.err
    assert not any(sample["prompt"] in said for sample in alone[1])
