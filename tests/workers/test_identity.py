"""Identity: equal work has one id, different work never, and randomness is split by use."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.toys import ToyRecipe
from workers.identity import ID_LENGTH, derive_seed, recipe_digest, stage_id, text_digest

ROOT = Path(__file__).parents[2]
TOYS = st.builds(
    ToyRecipe,
    seed=st.integers(0, 3),
    threads=st.integers(1, 3),
    steps=st.integers(1, 3),
    value=st.sampled_from([1.0, 1.5, -0.5]),
    fault=st.sampled_from(["", "bug"]),
)
PARENTS = st.lists(
    st.tuples(st.sampled_from(["base", "merged"]), st.sampled_from(["a" * 32, "b" * 32])), max_size=3
)
ARGUMENTS = st.tuples(
    st.sampled_from(["sft", "dpo"]),
    st.integers(1, 2),
    st.sampled_from(["d1", "d2"]),
    st.integers(0, 2),
    PARENTS,
)


@given(TOYS, TOYS)
def test_digests_agree_exactly_when_recipes_do_but_for_their_seeds(left: ToyRecipe, right: ToyRecipe) -> None:
    equal = left.model_copy(update={"seed": 0}) == right.model_copy(update={"seed": 0})
    assert (recipe_digest(left) == recipe_digest(right)) == equal


@given(ARGUMENTS, ARGUMENTS)
def test_ids_agree_exactly_when_everything_does(left: tuple, right: tuple) -> None:
    assert (stage_id(*left) == stage_id(*right)) == (left == right)


@given(ARGUMENTS)
def test_an_id_is_lower_case_hexadecimal_of_fixed_length(arguments: tuple) -> None:
    identity = stage_id(*arguments)
    assert len(identity) == ID_LENGTH and set(identity) <= set("0123456789abcdef")


def test_the_order_of_parents_counts() -> None:
    one, two = ("merged", "a" * 32), ("merged", "b" * 32)
    assert stage_id("merge", 1, "d", 0, [one, two]) != stage_id("merge", 1, "d", 0, [two, one])


def test_an_id_is_the_same_in_every_process() -> None:
    code = (
        "from tests.support.toys import TOY, ToyRecipe; from workers.stage import Stage; "
        "print(Stage.create(TOY, ToyRecipe(value=2.5, seed=3), (('parent', 'ab'),)).id)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


@given(st.lists(st.text(max_size=3), max_size=3), st.lists(st.text(max_size=3), max_size=3))
def test_strings_that_run_into_each_other_are_told_apart(left: list[str], right: list[str]) -> None:
    assert (text_digest(*left) == text_digest(*right)) == (left == right)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_say_is_not_hashed(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        recipe_digest(ToyRecipe(value=value))


@given(st.integers(0, 2**40), st.text(max_size=12))
def test_a_derived_seed_fits_every_library_and_is_repeatable(seed: int, use: str) -> None:
    derived = derive_seed(seed, use)
    assert 0 <= derived < 2**31
    assert derived == derive_seed(seed, use)
    random.Random(derived)


def test_uses_and_seeds_have_streams_of_their_own() -> None:
    uses = ("initialisation", "order", "dropout", "merge", "generation")
    derived = [derive_seed(seed, use) for seed in range(500) for use in uses]
    assert len(set(derived)) == len(derived)


def test_derived_seeds_are_spread_over_the_whole_range() -> None:
    derived = [derive_seed(seed, "order") / 2**31 for seed in range(2000)]
    assert abs(sum(derived) / len(derived) - 0.5) < 0.03
    assert all(sum(low <= value < low + 0.1 for value in derived) > 140 for low in (0.0, 0.3, 0.6, 0.9))


def test_ids_are_golden() -> None:
    """A change here renames every stage that was ever computed."""
    digest = recipe_digest(ToyRecipe(value=2.0, steps=3, seed=9))
    assert digest == text_of_sha256({"steps": 3, "value": 2.0})
    assert stage_id("toy", 1, digest, 9, [("parent", "ab")]) == sha256(f"toy\n1\n{digest}\n9\nparent=ab")[:32]


def sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def text_of_sha256(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")))
