"""Golden token ids of the two published literals, by a real SentencePiece and a real byte-pair vocabulary."""

import pytest

from workers.data.dialogues import Example, Pair, Turn
from workers.data.templates import Renderer
from workers.data.tokenization import Tokenization
from workers.models.loading import read_tokenizer
from workers.specs.data import Template

VICUNA = Template(turn="USER: {prompt} ASSISTANT: {response}</s>")
MISTRAL = Template(turn="[INST] {prompt} [/INST] {response} </s>")
ONE = Pair("Why is it so?", "Because.", "It is not.")
TWO = Pair("Why?", "Because.", "No.", (Turn("Hello.", "Hi."),))

USER = [410, 471, 437, 459, 461, 467]
ASSISTANT = [410, 447, 437, 437, 442, 437, 434, 447, 458, 434, 467]
OPENING = [410, 508, 442, 458, 437, 434, 509]
CLOSING = [410, 508, 492, 442, 458, 437, 434, 509]
HELLO, HI, WHY = [346, 306, 414, 426], [320, 417, 426], [410, 448, 415, 422, 450]
WHY_SO = [410, 448, 415, 422, 410, 293, 312, 384, 450]
BECAUSE, IT_IS_NOT, NO = (
    [368, 411, 429, 412, 425, 372, 426],
    [359, 413, 410, 293, 297, 309, 426],
    [410, 458, 414, 426],
)
START, END, SPACE = 1, 2, 410


@pytest.fixture(scope="module")
def stories(assets):
    """A SentencePiece vocabulary of 512 pieces, with the marks of the LLaMA family."""
    return read_tokenizer(assets / "models" / "stories260K-hf")


@pytest.fixture(scope="module")
def gpt2(assets):
    """A byte-pair vocabulary whose one mark, 50256, begins and ends texts."""
    from transformers import GPT2TokenizerFast

    folder = assets / "tokenizer-gpt2"
    return GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))


def tokenized(tokenizer, template: Template, pair: Pair, prompt: int = 500, total: int = 1000):
    (row,) = Tokenization(tokenizer, Renderer(template, tokenizer.eos_token), prompt, total).pairs([pair])
    return row


@pytest.mark.parametrize(
    ("template", "pair", "prompt", "chosen", "rejected"),
    [
        (VICUNA, ONE, [START, *USER, *WHY_SO, *ASSISTANT], [*BECAUSE, END], [*IT_IS_NOT, END]),
        (
            VICUNA,
            TWO,
            [START, *USER, *HELLO, *ASSISTANT, *HI, END, *USER, *WHY, *ASSISTANT],
            [*BECAUSE, END],
            [*NO, END],
        ),
        (
            MISTRAL,
            ONE,
            [START, *OPENING, *WHY_SO, *CLOSING],
            [*BECAUSE, SPACE, END],
            [*IT_IS_NOT, SPACE, END],
        ),
        (
            MISTRAL,
            TWO,
            [START, *OPENING, *HELLO, *CLOSING, *HI, SPACE, END, *OPENING, *WHY, *CLOSING],
            [*BECAUSE, SPACE, END],
            [*NO, SPACE, END],
        ),
    ],
)
def test_golden_ids_of_a_sentencepiece_vocabulary(stories, template, pair, prompt, chosen, rejected):
    row = tokenized(stories, template, pair)
    assert row.prompt_ids == prompt
    assert row.chosen_ids == chosen
    assert row.rejected_ids == rejected


@pytest.mark.parametrize("template", [VICUNA, MISTRAL])
@pytest.mark.parametrize("pair", [ONE, TWO])
def test_one_start_mark_and_one_end_mark_an_answer(stories, template, pair):
    row = tokenized(stories, template, pair)
    for answer in (row.chosen_ids, row.rejected_ids):
        whole = row.prompt_ids + answer
        assert whole.count(START) == 1 and whole[0] == START
        assert whole.count(END) == 1 + len(pair.history) and whole[-1] == END


@pytest.mark.parametrize("template", [VICUNA, MISTRAL])
def test_only_the_last_turn_where_the_template_says_so(stories, template):
    last = template.model_copy(update={"multi_turn": "last"})
    alone = Pair(TWO.prompt, TWO.chosen, TWO.rejected)
    assert tokenized(stories, last, TWO) == tokenized(stories, template, alone)


def test_the_loss_covers_the_answer_and_its_end_mark(stories):
    tokenization = Tokenization(stories, Renderer(MISTRAL, stories.eos_token), 500, 1000)
    (example,) = tokenization.examples([Example("Why is it so?", "Because.")])
    masked, whole = example.row(mask_prompt=True), example.row(mask_prompt=False)
    assert masked["labels"] == [-100] * len(example.prompt_ids) + [*BECAUSE, SPACE, END]
    assert whole["labels"] == whole["input_ids"] == masked["input_ids"]


def test_the_prompt_is_cut_from_the_left_and_the_answers_never(stories):
    full = tokenized(stories, MISTRAL, TWO)
    cut = tokenized(stories, MISTRAL, TWO, prompt=20)
    assert cut.prompt_ids == [START, *full.prompt_ids[-19:]]
    assert (cut.chosen_ids, cut.rejected_ids) == (full.chosen_ids, full.rejected_ids)
    short = tokenized(stories, MISTRAL, TWO, total=20)
    assert short.length == 20
    assert (short.chosen_ids, short.rejected_ids) == (full.chosen_ids, full.rejected_ids)


@pytest.mark.parametrize(
    ("template", "spoken"),
    [
        (VICUNA, [" Because", ".", "<|endoftext|>"]),
        (MISTRAL, [" Because", ".", " ", "<|endoftext|>"]),
    ],
)
def test_golden_pieces_of_a_byte_pair_vocabulary(gpt2, template, spoken):
    """It has no start mark, and its own end mark takes the place of the literal's."""
    row = tokenized(gpt2, template, TWO)
    assert [gpt2.decode([token]) for token in row.chosen_ids] == spoken
    assert gpt2.decode(row.prompt_ids).startswith(template.turn[:5])
    assert row.prompt_ids.count(gpt2.eos_token_id) == 1
    assert row.chosen_ids.count(gpt2.eos_token_id) == 1
