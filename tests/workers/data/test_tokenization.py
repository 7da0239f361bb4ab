"""Golden token ids: what a model really sees, for both published literals."""

import pytest

from tests.support.training import MISTRAL, VICUNA
from workers.context import BadInput
from workers.data.dialogues import Example, Pair, Turn
from workers.data.templates import Renderer
from workers.data.tokenization import Tokenization
from workers.models.loading import read_tokenizer
from workers.specs.data import Template

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)
PUBLISHED_VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. USER: {prompt} ASSISTANT: {response}</s>"
)
PUBLISHED_MISTRAL = "[INST] {prompt} [/INST] {response} </s>"
PAIR = Pair("hello.", "yes, ask me.", "sure.", (Turn("please talk to me.", "hello."),))


def tokenization(tokenizer, template: Template, prompt_limit: int = 100, limit: int = 200) -> Tokenization:
    return Tokenization(tokenizer, Renderer(template, tokenizer.eos_token), prompt_limit, limit)


def words(tokenizer, ids: list[int]) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(ids))


@pytest.mark.parametrize(
    ("template", "published"),
    [(Template(system=SYSTEM, turn=VICUNA.turn), PUBLISHED_VICUNA), (MISTRAL, PUBLISHED_MISTRAL)],
)
def test_the_published_literals_are_rendered_byte_for_byte(template, published):
    rendered = Renderer(template).render((), "Why is it so?", "Because.")
    assert rendered.text == published.format(prompt="Why is it so?", response="Because.")
    assert rendered.text[rendered.response_start :].startswith("Because.")
    assert Renderer(template).prompt((), "Why is it so?") == rendered.prompt
    assert rendered.prompt.endswith(("ASSISTANT:", "[/INST]"))


@pytest.mark.parametrize(
    ("template", "prompt", "chosen"),
    [
        (VICUNA, "<s> USER: hello . ASSISTANT:", "yes , ask me . </s>"),
        (MISTRAL, "<s> [INST] hello . [/INST]", "yes , ask me . </s>"),
    ],
)
def test_golden_single_turn(tokenizer, template, prompt, chosen):
    (row,) = tokenization(tokenizer, template).pairs([Pair("hello.", "yes, ask me.", "sure.")])
    assert words(tokenizer, row.prompt_ids) == prompt
    assert words(tokenizer, row.chosen_ids) == chosen
    assert words(tokenizer, row.rejected_ids) == "sure . </s>"


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (VICUNA, "<s> USER: please talk to me . ASSISTANT: hello . </s> USER: hello . ASSISTANT:"),
        (MISTRAL, "<s> [INST] please talk to me . [/INST] hello . </s> [INST] hello . [/INST]"),
        (VICUNA.model_copy(update={"multi_turn": "last"}), "<s> USER: hello . ASSISTANT:"),
    ],
)
def test_golden_several_turns(tokenizer, template, prompt):
    (row,) = tokenization(tokenizer, template).pairs([PAIR])
    assert words(tokenizer, row.prompt_ids) == prompt


def test_golden_ids(tokenizer):
    (row,) = tokenization(tokenizer, VICUNA).pairs([Pair("hello.", "sure.", "hello.")])
    vocabulary = tokenizer.get_vocab()
    dot, hello, sure = (vocabulary[word] for word in (".", "hello", "sure"))
    assert row.prompt_ids == [1, 4, hello, dot, 5]
    assert row.chosen_ids == [sure, dot, 2]
    assert row.rejected_ids == [hello, dot, 2]


@pytest.mark.parametrize("mask_prompt", [True, False])
def test_the_loss_mask(tokenizer, mask_prompt):
    (example,) = tokenization(tokenizer, VICUNA).examples([Example("hello.", "sure.")])
    row = example.row(mask_prompt)
    assert len(row["input_ids"]) == len(row["labels"]) == 8
    assert row["labels"] == ([-100] * 5 + row["input_ids"][5:] if mask_prompt else row["input_ids"])
    assert row["labels"][-1] == tokenizer.eos_token_id
    assert row["labels"].count(tokenizer.eos_token_id) == 1


def test_prompts_are_cut_from_the_left_behind_the_start_mark(tokenizer):
    (row,) = tokenization(tokenizer, VICUNA, prompt_limit=6).pairs([PAIR])
    assert words(tokenizer, row.prompt_ids) == "<s> </s> USER: hello . ASSISTANT:"
    assert words(tokenizer, row.chosen_ids) == "yes , ask me . </s>"


def test_the_total_length_cuts_the_prompt_and_never_one_answer(tokenizer):
    (row,) = tokenization(tokenizer, VICUNA, limit=9).pairs([PAIR])
    assert row.length == 9
    assert words(tokenizer, row.prompt_ids) == "<s> . ASSISTANT:"
    assert words(tokenizer, row.chosen_ids) == "yes , ask me . </s>"
    assert words(tokenizer, row.rejected_ids) == "sure . </s>"


def test_an_answer_that_cannot_fit_drops_its_pair(tokenizer):
    cut = tokenization(tokenizer, VICUNA, limit=6)
    assert cut.pairs([PAIR]) == []
    assert cut.dropped["too long"] == 1


def test_texts_with_the_tokenizers_marks_are_dropped(tokenizer):
    dropping = tokenization(tokenizer, VICUNA)
    assert dropping.examples(
        [Example("hello.", "sure.</s> hello."), Example("<s>", "sure."), Example("hello.", "sure.")]
    )
    assert dropping.dropped["holds a mark"] == 2


def test_both_answers_share_the_ids_of_the_prompt(tokenizer):
    for row in tokenization(tokenizer, MISTRAL).pairs([PAIR, Pair("hello.", "hello. hello.", "hello.")]):
        assert row.chosen_ids[-1] == row.rejected_ids[-1] == tokenizer.eos_token_id
        assert tokenizer.eos_token_id not in row.chosen_ids[:-1]


@pytest.mark.parametrize("turn", ["{prompt}</s>", "{response} {prompt}</s>", "{prompt} {response}"])
def test_templates_that_cannot_be(turn):
    with pytest.raises(BadInput, match="must hold"):
        Renderer(Template(turn=turn))


def test_a_tokenizer_that_adds_its_own_end_mark_is_refused(tokenizer):
    class Doubling:
        def __call__(self, texts, **others):
            encoded = tokenizer(texts, **others)
            encoded["input_ids"] = [[*ids, 2] for ids in encoded["input_ids"]]
            return encoded

        def __getattr__(self, name):
            return getattr(tokenizer, name)

    with pytest.raises(BadInput, match="exactly one end mark"):
        tokenization(Doubling(), VICUNA).examples([Example("hello.", "sure.")])


@pytest.mark.parametrize("template", [VICUNA, MISTRAL])
def test_a_real_sentencepiece_tokenizer(assets, template):
    tokenizer = read_tokenizer(assets / "models" / "stories260K-hf")
    (row,) = tokenization(tokenizer, template).pairs([Pair("Once upon", "a time. Yes", "no")])
    assert row.prompt_ids[0] == tokenizer.bos_token_id
    assert row.chosen_ids[-1] == row.rejected_ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(row.chosen_ids, skip_special_tokens=True).strip() == "a time. Yes"
    assert tokenizer.decode(row.rejected_ids, skip_special_tokens=True).strip() == "no"
