"""What a model will see, laid open: segments, pieces, loss mask, cut prompts, the end mark."""

import pytest

from tests.support.training import (
    MISTRAL,
    VICUNA,
    WORLD,
    dpo_recipe,
    pretrain_recipe,
    reference_recipe,
    sft_recipe,
)
from workers.context import BadInput
from workers.data.dialogues import Turn
from workers.data.inspection import inspect
from workers.data.prepared import tokenized_examples, tokenized_pairs
from workers.data.sampling import training_positions
from workers.data.templates import Renderer
from workers.specs.data import InstructionData, PreferenceData

DATA = PreferenceData(dataset="hh-rlhf", source=WORLD, samples=40, max_prompt_length=24, max_length=64)


@pytest.mark.parametrize(
    "template", [VICUNA, MISTRAL, VICUNA.model_copy(update={"multi_turn": "last", "system": "Be."})]
)
def test_segments_are_the_rendered_text(template):
    renderer = Renderer(template)
    history = (Turn("one", "two"), Turn("three", "four"))
    parts = renderer.segments(history, "five", "six")
    assert "".join(part.text for part in parts) == renderer.render(history, "five", "six").text
    given = [part.text for part in parts if part.given]
    assert given == (
        ["five", "six"] if template.multi_turn == "last" else ["one", "two", "three", "four", "five", "six"]
    )


@pytest.mark.parametrize("mask_prompt", [True, False])
def test_sft_shows_the_rows_of_training_in_their_order(context, tokenizer, mask_prompt):
    recipe = sft_recipe(preferences=DATA, template=MISTRAL, max_length=64, mask_prompt=mask_prompt)
    found = inspect(recipe, context, tokenizer, 5)
    rows, account = tokenized_examples(context, DATA, MISTRAL, tokenizer, max_length=64, seed=0)
    order = training_positions(recipe.training, DATA, rows, 0)
    assert (found.used, found.read, found.positions) == (account.used, account.read, len(order))
    for place, (dialogue,) in zip(order, found.rows, strict=False):
        wanted = rows[place].row(mask_prompt)
        assert [piece.id for piece in dialogue.pieces] == wanted["input_ids"]
        assert [piece.id if piece.learnt else -100 for piece in dialogue.pieces] == wanted["labels"]
        assert dialogue.start == len(rows[place].prompt_ids)
        assert dialogue.pieces[-1].text == "</s>" and dialogue.pieces[-1].learnt


@pytest.mark.parametrize("recipe", [dpo_recipe(preferences=DATA), reference_recipe(preferences=DATA)])
def test_pairs_show_both_answers_after_one_prompt(context, tokenizer, recipe):
    found = inspect(recipe, context, tokenizer, 40)
    rows, _ = tokenized_pairs(context, DATA, VICUNA, tokenizer, seed=0)
    known = {(*row.prompt_ids, *row.chosen_ids) for row in rows}
    for chosen, rejected in found.rows:
        assert tuple(piece.id for piece in chosen.pieces) in known
        prompts = [[piece.id for piece in one.pieces[: one.start]] for one in (chosen, rejected)]
        assert prompts[0] == prompts[1]
        assert not any(piece.learnt for piece in chosen.pieces[: chosen.start])
    assert found.cut == sum(row[0].cut > 0 for row in _distinct(found.rows)) or len(found.rows) < found.used
    assert any(row[0].cut for row in found.rows)


def _distinct(rows):
    return list({tuple(piece.id for piece in row[0].pieces): row for row in rows}.values())


def test_pieces_of_the_template_are_told_from_those_of_the_data(context, tokenizer):
    found = inspect(sft_recipe(preferences=DATA, template=MISTRAL, max_length=64), context, tokenizer, 20)
    for (dialogue,) in found.rows:
        literal = {piece.text for piece in dialogue.pieces if not piece.given}
        assert literal <= {"<s>", "[INST]", "[/INST]", "</s>"}
        assert {"[/INST]", "</s>"} <= literal
        assert not {piece.text for piece in dialogue.pieces if piece.given} & literal


def test_instructions_are_shown_too(context, tokenizer):
    recipe = sft_recipe(preferences=None, instructions=InstructionData(source=WORLD), max_length=64)
    assert len(inspect(recipe, context, tokenizer, 2).rows) == 2


@pytest.mark.parametrize(
    ("recipe", "message"),
    [(pretrain_recipe(), "see dialogues"), (sft_recipe(preferences=None), "exactly one of")],
)
def test_other_stages_are_refused(context, tokenizer, recipe, message):
    with pytest.raises(BadInput, match=message):
        inspect(recipe, context, tokenizer, 1)
