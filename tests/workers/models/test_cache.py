"""The few bases and tokenizers that a warm worker keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.toys import TOY, ToyRecipe
from tests.support.training import Lab
from workers.models.cache import MODELS_KEPT, TOKENIZERS_KEPT, BoundedCache, model_cache, tokenizer_cache


@given(limit=st.integers(1, 4), keys=st.lists(st.integers(0, 6), max_size=40))
def test_it_keeps_the_last_used_and_never_holds_more_than_its_limit(limit: int, keys: list[int]) -> None:
    cache, held, made = BoundedCache(limit), [], []

    def make(key: int) -> str:
        assert len(cache) < limit, "room is made before the value, not after it"
        made.append(key)
        return f"value of {key}"

    for key in keys:
        expected = list(made) if key in held else [*made, key]
        assert cache.get(key, lambda key=key: make(key)) == f"value of {key}"
        assert made == expected
        held = [*(one for one in held if one != key), key][-limit:]
        assert len(cache) == len(held)


def test_a_value_that_could_not_be_made_is_tried_again() -> None:
    cache = BoundedCache(2)

    def fail() -> None:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError):
        cache.get("a", fail)
    assert len(cache) == 0
    assert cache.get("a", lambda: 1) == 1


def test_none_is_a_value_too() -> None:
    cache, made = BoundedCache(1), []
    for _ in range(2):
        assert cache.get("a", lambda: made.append(1)) is None
    assert made == [1]


def test_what_is_forgotten_is_made_anew_and_forgetting_twice_does_no_harm() -> None:
    cache = BoundedCache(2)
    cache.get("a", lambda: 1)
    cache.forget("a")
    cache.forget("a")
    assert cache.get("a", lambda: 2) == 2


def test_the_caches_of_one_worker_are_shared_by_its_stages_and_by_no_other_worker(tmp_path) -> None:
    lab = Lab(tmp_path)
    first, second = (lab.context(lab.stage(TOY, ToyRecipe(value=value)), ()) for value in (1.0, 2.0))
    other = lab.context(first.stage, (), memory={})
    assert model_cache(first) is model_cache(second)
    assert model_cache(first) is not tokenizer_cache(first)
    assert model_cache(first) is not model_cache(other)
    assert (model_cache(first).limit, tokenizer_cache(first).limit) == (MODELS_KEPT, TOKENIZERS_KEPT)
