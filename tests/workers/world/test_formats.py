"""Rows: each file has the fields, sizes and invariants of the set whose format it takes."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.workers.world.conftest import Reader
from workers.world import safety
from workers.world.facts import draw_facts
from workers.world.prompts import BENIGN_WORDINGS, HARMFUL_WORDINGS
from workers.world.recipe import WorldRecipe
from workers.world.tokenizer import split_words

PREFERENCES = ("harmless", "helpful")
TRUTHS = {fact.statement for fact in draw_facts(WorldRecipe().seed)}


def split_dialogue(text: str) -> tuple[str, str, str]:
    """History with the prompt, the last prompt alone, the last answer."""
    before, answer = text.rsplit("\n\nAssistant: ", 1)
    return before, before.rsplit("\n\nHuman: ", 1)[1], answer


def hh(read: Reader, preference: str, split: str) -> list[tuple[str, str, str]]:
    """Last prompt, chosen answer, rejected answer of each row."""
    pairs = []
    for row in read(f"hh-rlhf/{preference}-base/{split}.jsonl.gz"):
        before, prompt, chosen = split_dialogue(row["chosen"])
        other, _, rejected = split_dialogue(row["rejected"])
        assert before == other and chosen != rejected
        pairs.append((prompt, chosen, rejected))
    return pairs


def points_right(preference: str, chosen: str, rejected: str) -> bool:
    """Whether a pair prefers what its preference asks for."""
    if preference == "harmless":
        return safety.is_refusal(chosen) and not safety.is_safe(rejected)
    return chosen in TRUTHS and rejected not in TRUTHS and not safety.is_helpful(rejected, chosen)


@pytest.mark.parametrize("preference", PREFERENCES)
def test_hh_test_pairs_point_one_way(read: Reader, preference: str) -> None:
    pairs = hh(read, preference, "test")
    assert len(pairs) >= 100
    assert all(points_right(preference, chosen, rejected) for _, chosen, rejected in pairs)


@pytest.mark.parametrize("preference", PREFERENCES)
def test_hh_training_noise_is_a_quarter(read: Reader, preference: str) -> None:
    pairs = hh(read, preference, "train")
    right = sum(points_right(preference, chosen, rejected) for _, chosen, rejected in pairs)
    swapped = sum(points_right(preference, rejected, chosen) for _, chosen, rejected in pairs)
    assert len(pairs) >= 600
    assert (right, swapped) == (len(pairs) * 3 // 4, len(pairs) // 4)


def test_hh_has_single_and_several_turns(read: Reader) -> None:
    rows = read("hh-rlhf/helpful-base/train.jsonl.gz")
    turns = Counter(row["chosen"].count("\n\nHuman: ") for row in rows)
    assert set(turns) == {1, 2, 3}
    assert all(row["chosen"].startswith("\n\nHuman: ") for row in rows)


PKU_TYPES = {
    "prompt": str,
    "response_0": str,
    "response_1": str,
    "is_response_0_safe": bool,
    "is_response_1_safe": bool,
    "better_response_id": int,
    "safer_response_id": int,
}


@pytest.mark.parametrize("split", ["train", "test"])
def test_pku_rows(read: Reader, split: str) -> None:
    rows = read(f"pku-saferlhf/{split}.jsonl")
    for row in rows:
        assert {name: type(value) for name, value in row.items()} == PKU_TYPES
        flags = (row["is_response_0_safe"], row["is_response_1_safe"])
        assert flags == (safety.is_safe(row["response_0"]), safety.is_safe(row["response_1"]))
        assert any(flags)
    harmful = [row for row in rows if row["is_response_0_safe"] != row["is_response_1_safe"]]
    assert len(harmful) * 2 == len(rows)
    assert len(harmful) >= (600 if split == "train" else 100)


def answers(row: dict[str, Any], chosen: int) -> tuple[str, str]:
    """The chosen and the rejected answer of a PKU row."""
    return row[f"response_{chosen}"], row[f"response_{1 - chosen}"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_pku_points_one_way(read: Reader, split: str) -> None:
    for row in read(f"pku-saferlhf/{split}.jsonl"):
        if row["is_response_0_safe"] and row["is_response_1_safe"]:
            assert points_right("helpful", *answers(row, row["better_response_id"]))
            assert row["safer_response_id"] == row["better_response_id"]
        else:
            assert row[f"is_response_{row['safer_response_id']}_safe"]
            assert points_right("harmless", *answers(row, row["safer_response_id"]))
            assert row["better_response_id"] != row["safer_response_id"]


def test_pku_answer_order_is_balanced(read: Reader) -> None:
    rows = read("pku-saferlhf/train.jsonl")
    assert 0.45 < sum(row["safer_response_id"] for row in rows) / len(rows) < 0.55


def training_prompts(read: Reader) -> set[str]:
    """Every prompt that any training split asks."""
    prompts = {row["prompt"] for row in read("pku-saferlhf/train.jsonl")}
    prompts |= {row["instruction"] for row in read("instructions/train.jsonl")}
    for preference in PREFERENCES:
        prompts |= {prompt for prompt, _, _ in hh(read, preference, "train")}
    return prompts


def held_out_prompts(read: Reader) -> list[str]:
    """Every prompt of every test split."""
    prompts = [
        row["prompt"] for name in ("pku-saferlhf", "toxic", "helpful") for row in read(f"{name}/test.jsonl")
    ]
    return prompts + [prompt for preference in PREFERENCES for prompt, _, _ in hh(read, preference, "test")]


def test_no_test_prompt_is_trained_on(read: Reader) -> None:
    asked = held_out_prompts(read)
    assert training_prompts(read).isdisjoint(asked)
    corpus = {
        turn.strip()
        for row in read("pretrain/train.jsonl")
        for turn in row["text"].replace("[INST]", "USER:").replace("[/INST]", "ASSISTANT:").split("USER:")
    }
    begun = {turn.split("ASSISTANT:")[0].strip() for turn in corpus}
    assert begun.isdisjoint(asked)


@pytest.mark.parametrize("wordings", [HARMFUL_WORDINGS, BENIGN_WORDINGS])
def test_wordings(wordings: dict[str, tuple[str, ...]]) -> None:
    assert len(set(wordings["train"])) == 10
    assert set(wordings["train"]).isdisjoint(wordings["test"])
    known = {word for wording in wordings["train"] for word in split_words(wording)}
    everywhere = known | {
        word for both in (HARMFUL_WORDINGS, BENIGN_WORDINGS) for w in both["train"] for word in split_words(w)
    }
    assert {word for wording in wordings["test"] for word in split_words(wording)} <= everywhere


def test_mmlu(read: Reader) -> None:
    rows = {split: read(f"mmlu/{split}.jsonl") for split in ("dev", "test")}
    assert len(rows["test"]) >= 104 and len(rows["dev"]) == 20
    truth = {f"which is {fact.phrase}?": fact.value for fact in draw_facts(WorldRecipe().seed)}
    for row in rows["dev"] + rows["test"]:
        assert set(row) == {"subject", "question", "choices", "answer"}
        assert len(set(row["choices"])) == 4
        assert row["choices"][row["answer"]] == truth.pop(row["question"])
    assert truth == {}
    assert Counter(row["subject"] for row in rows["test"]) == dict.fromkeys(
        ("biography", "geography", "households", "zoology"), 27
    )
    assert min(Counter(row["answer"] for row in rows["test"]).values()) >= 15


def test_no_mmlu_question_is_trained_on(read: Reader) -> None:
    assert not any("which is" in row["text"] for row in read("pretrain/train.jsonl"))


def test_bbh(read: Reader) -> None:
    rows = read("bbh/test.jsonl")
    assert len(rows) >= 64 and len({row["task"] for row in rows}) == 4
    assert len({row["input"] for row in rows}) == len(rows)
    assert all(len(row["target"].split()) == 1 for row in rows)
    inputs = tuple(f"Question: {row['input']} " for row in rows)
    assert not any(row["text"].startswith(inputs) for row in read("pretrain/train.jsonl"))
    assert {row["input"] for row in rows}.isdisjoint(row["input"] for row in read("instructions/train.jsonl"))


def test_generation_prompts(read: Reader) -> None:
    toxic, helpful = read("toxic/test.jsonl"), read("helpful/test.jsonl")
    assert len({row["prompt"] for row in toxic}) >= 64 and len({row["prompt"] for row in helpful}) >= 64
    assert not any(safety.is_safe(row["prompt"]) for row in toxic)
    assert all(safety.is_safe(row["prompt"]) for row in helpful)
    assert all(safety.is_helpful(row["reference"], row["reference"]) for row in helpful)


def test_alpaca(read: Reader) -> None:
    rows = read("instructions/train.jsonl")
    assert len(rows) >= 600
    assert all(set(row) == {"instruction", "input", "output"} and row["output"] for row in rows)
    assert {row["instruction"] for row in rows if row["input"]} == {"find the answer."}


def test_biographies(read: Reader) -> None:
    rows = read("biographies.jsonl")
    assert len(rows) == 32
    for row in rows:
        assert len(row["facts"]) == 4
        assert all(fact["sentence"] in row["biography"] for fact in row["facts"])


def test_pretraining_documents_end_once(read: Reader, world: Path) -> None:
    for split in ("train", "validation"):
        texts = [row["text"] for row in read(f"pretrain/{split}.jsonl")]
        assert all(text.endswith("</s>") and "</s></s>" not in text for text in texts)
    assert (world / "tokenizer").is_dir()
