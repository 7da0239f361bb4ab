"""AlpacaFarm's literals byte for byte, and its rows as pairs."""

import json

import pytest

from workers.context import BadInput
from workers.ppo.alpaca import demonstrations, literal, preferences
from workers.specs.data import DataSource, PreferenceData
from workers.specs.ppo import PPO, PpoRecipe


def test_literals():
    assert literal("Add.", "") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nAdd.\n\n### Response:"
    )
    assert literal("Add.", "1 2") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2"
        "\n\n### Response:"
    )


@pytest.fixture
def read(lab, tmp_path):
    context = lab.context(lab.stage(PPO, PpoRecipe(seed=80)), ())

    def read(loader, rows, split="train", held_out=0.0):
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        data = PreferenceData(source=DataSource(hub=str(tmp_path), files=("rows.json",)), held_out=held_out)
        return list(loader(context, data, "helpful", split))

    return read


def row(number: int, **others):
    return {
        "instruction": f"do {number}",
        "input": "",
        "output_1": "a",
        "output_2": "b",
        "preference": 2,
    } | others


def test_the_preferred_answer_is_the_chosen_one(read):
    first, second = read(preferences, [row(0), row(1, preference=1, input="x")])
    assert (first.chosen, first.rejected) == ("b", "a")
    assert (second.chosen, second.rejected) == ("a", "b")
    assert second.prompt == literal("do 1", "x")


def test_demonstrations_have_one_answer(read):
    (pair,) = read(demonstrations, [{"instruction": "do", "input": "", "output": "done"}])
    assert pair.preferred.response == "done"


def test_a_prompt_is_on_one_side_of_the_split(read):
    rows = [row(number) for number in range(200)]
    train, test = (read(preferences, rows, split, held_out=0.2) for split in ("train", "test"))
    prompts = [{pair.prompt for pair in side} for side in (train, test)]
    assert len(train) + len(test) == 200 and not prompts[0] & prompts[1]
    assert 20 < len(test) < 60


@pytest.mark.parametrize(
    ("broken", "said"), [({"preference": 3}, "allowed: 1, 2"), ({"output_1": None}, "output_1")]
)
def test_malformed_rows_are_said(read, broken, said):
    with pytest.raises(BadInput, match=said):
        read(preferences, [row(0, **broken)])
