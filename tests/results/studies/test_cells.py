"""Cells, and which belong together."""

from math import nan

import pytest

from results.studies.alignment.cells import MODELS, Cell, original, other_merges, parents, title
from tests.results.studies.lab import CELLS

MERGE = Cell("mistral-7b", "beavertails", "harmless+helpful", "sft+dpo", "qlora", "merge-dare-ties")
SINGLE = Cell("mistral-7b", "beavertails", "harmless", "sft", "qlora", "single")


def test_a_row_of_levels_is_a_cell_whatever_is_null() -> None:
    row = {
        "model": "mistral-7b",
        "dataset": None,
        "preference": nan,
        "method": "none",
        "variant": "original",
        "seed": 3,
    }
    assert Cell.of(row) == Cell("mistral-7b", "none", "none", "none", "none", "original")
    assert str(Cell.of(row)) == "mistral-7b/original"
    assert str(SINGLE) == "mistral-7b/beavertails/harmless/sft/qlora/single"


@pytest.mark.parametrize(
    ("model", "start"), [("llama-1-7b", "pretrained"), ("vicuna-7b-v1.3", "instruct"), ("x", "other")]
)
def test_the_start_of_a_model(model: str, start: str) -> None:
    assert SINGLE._replace(model=model).start_type == start
    assert SINGLE._replace(model=model).fits({"start_type": (start,), "method": ("dpo", "sft")})


def test_a_cell_fits_when_every_factor_does() -> None:
    assert SINGLE.fits({})
    assert not SINGLE.fits({"method": ("sft",), "adapter": ("lora",)})


def test_four_parents_of_the_merge_of_all() -> None:
    found = parents(MERGE, CELLS)
    assert {(one.preference, one.method) for one in found} == {
        (preference, method) for preference in ("harmless", "helpful") for method in ("sft", "dpo")
    }
    assert {one.variant for one in found} == {"single"}


def test_two_parents_of_a_mixture() -> None:
    mixture = MERGE._replace(method="dpo", variant="mixture")
    assert [one.preference for one in parents(mixture, CELLS)] == ["harmless", "helpful"]


def test_a_parent_that_is_not_planned_leaves_no_comparison() -> None:
    assert parents(MERGE, [cell for cell in CELLS if cell != SINGLE]) == []


def test_other_merges_of_the_same_model() -> None:
    found = other_merges(MERGE, CELLS)
    assert len(found) == 4
    assert MERGE not in found and {one.model for one in found} == {"mistral-7b"}


def test_the_original_of_a_model_is_printed_for_the_mistral_pair_alone() -> None:
    assert [len(original(SINGLE._replace(model=model), CELLS)) for model in MODELS] == [1, 1, 0, 0]


def test_a_level_without_a_title_stands_for_itself() -> None:
    assert (title("qlora"), title("my-model")) == ("QLoRA", "my-model")
