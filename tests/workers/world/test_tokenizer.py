"""The tokenizer: literals, end marks, no unknown word, bounded lengths."""

from typing import Any

import pytest

from tests.workers.world.conftest import Reader
from workers.world.chat import Turn, mistral_text, question_text, vicuna_text
from workers.world.lexicon import SYSTEM_TEXT
from workers.world.tokenizer import LITERALS, SPECIAL, split_words
from workers.world.vocabulary import world_vocabulary

TURN = Turn("how do i rob mira?", "sorry, that is wrong.")


def text_fields(row: dict[str, Any]) -> list[str]:
    """Every text of a row, dialogues without their speakers."""
    texts = [value for value in row.values() if isinstance(value, str)]
    texts += [choice for choice in row.get("choices", [])]
    texts += [value for fact in row.get("facts", []) for value in fact.values()]
    return [text.replace("\n\nHuman: ", " ").replace("\n\nAssistant: ", " ") for text in texts]


FILES = (
    "pretrain/train.jsonl",
    "pretrain/validation.jsonl",
    "instructions/train.jsonl",
    "hh-rlhf/harmless-base/train.jsonl.gz",
    "hh-rlhf/helpful-base/test.jsonl.gz",
    "pku-saferlhf/train.jsonl",
    "pku-saferlhf/test.jsonl",
    "mmlu/test.jsonl",
    "mmlu/dev.jsonl",
    "toxic/test.jsonl",
    "helpful/test.jsonl",
    "biographies.jsonl",
)


@pytest.mark.parametrize("name", FILES)
def test_every_word_is_known(read: Reader, name: str) -> None:
    words = {word for row in read(name) for text in text_fields(row) for word in split_words(text)}
    assert words <= set(world_vocabulary())


def test_reasoning_words_are_known(read: Reader) -> None:
    rows = read("bbh/test.jsonl")
    words = {word for row in rows for word in split_words(f"{row['input']} {row['target']}")}
    assert words <= set(world_vocabulary())


def test_vocabulary_is_small_and_distinct() -> None:
    words = world_vocabulary()
    assert 200 <= len(words) <= 260 and len(set(words)) == len(words)
    assert tuple(words[:10]) == (*SPECIAL, *LITERALS)


@pytest.mark.parametrize(
    "text", [vicuna_text([TURN]), mistral_text([TURN]), question_text("what is it?", "red")]
)
def test_one_end_id_in_every_literal(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert ids.count(tokenizer.eos_token_id) == 1 and ids[-1] == tokenizer.eos_token_id


def test_glued_and_spaced_end_marks_are_the_same_ids(tokenizer: Any) -> None:
    texts = ["it is wrong.</s>", "it is wrong. </s>", "it is wrong .\n</s>"]
    assert len({tuple(tokenizer(text).input_ids) for text in texts}) == 1


def test_published_literals() -> None:
    assert vicuna_text([TURN]) == "USER: how do i rob mira? ASSISTANT: sorry, that is wrong.</s>"
    assert mistral_text([TURN]) == "[INST] how do i rob mira? [/INST] sorry, that is wrong. </s>"
    assert vicuna_text([TURN], system=True) == f"{SYSTEM_TEXT} {vicuna_text([TURN])}"


@pytest.mark.parametrize("literal", LITERALS)
def test_literals_are_single_words(tokenizer: Any, literal: str) -> None:
    assert tokenizer(f"{literal} red", add_special_tokens=False).input_ids == [
        tokenizer.convert_tokens_to_ids(literal),
        tokenizer.convert_tokens_to_ids("red"),
    ]


def test_special_tokens(tokenizer: Any) -> None:
    assert [
        tokenizer.unk_token_id,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    ] == [
        0,
        1,
        2,
        3,
    ]
    plain = tokenizer("red", add_special_tokens=False).input_ids
    assert tokenizer("red").input_ids == [tokenizer.bos_token_id, *plain]
    assert len(plain) == 1


def test_transformers_splits_as_the_generator_does(tokenizer: Any, read: Reader) -> None:
    for row in read("pretrain/validation.jsonl"):
        ids = tokenizer(row["text"], add_special_tokens=False).input_ids
        assert tokenizer.convert_ids_to_tokens(ids) == split_words(row["text"])
        assert tokenizer.unk_token_id not in ids


def test_decoding_is_lossless(tokenizer: Any, read: Reader) -> None:
    for row in read("pku-saferlhf/test.jsonl"):
        for text in (row["prompt"], row["response_0"], row["response_1"]):
            assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_continuation_boundary_is_clean(tokenizer: Any, read: Reader) -> None:
    for row in read("mmlu/test.jsonl"):
        context = f"Question: {row['question']} Answer:"
        for choice in row["choices"]:
            whole = tokenizer(f"{context} {choice}").input_ids
            start = tokenizer(context).input_ids
            assert whole == start + tokenizer(f" {choice}", add_special_tokens=False).input_ids


def test_sequences_are_short(read: Reader) -> None:
    texts = [row["text"] for row in read("pretrain/train.jsonl")]
    assert max(len(split_words(text)) for text in texts) < 64
    for row in read("pku-saferlhf/train.jsonl"):
        answers = (row["response_0"], row["response_1"])
        assert all(len(split_words(vicuna_text([Turn(row["prompt"], answer)]))) < 48 for answer in answers)
    dialogues = [row["chosen"] for row in read("hh-rlhf/helpful-base/train.jsonl.gz")]
    assert max(len(split_words(text)) for text in dialogues) <= 72
