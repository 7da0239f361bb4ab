"""Lengths of rows: what templates, truncation and padding make of a distribution; the stated ones on real rows."""

import numpy as np
import pytest

from orchestrator.cost import lengths
from orchestrator.cost.lengths import BEAVERTAILS, HH_HELPFUL, Lengths, pair_lengths, template_tokens
from tests.orchestrator.cost.measured_lengths import gpt2_counts, pair_counts, preference_pairs, real_assets
from workers.specs.data import DataSource, PreferenceData, Template
from workers.world import WorldRecipe

EVEN = Lengths((10.0, 20.0, 30.0, 40.0))
VICUNA = Template()
PLAIN = Template(turn="{prompt}{response}</s>")


def test_the_longest_of_a_batch_by_hand() -> None:
    assert EVEN.longest_of(1) == EVEN.mean == 25
    assert EVEN.longest_of(2) == pytest.approx((10 * 1 + 20 * 3 + 30 * 5 + 40 * 7) / 16)
    assert EVEN.longest_of(100) == pytest.approx(40, abs=0.01)


def test_the_longest_of_a_batch_is_that_of_random_draws() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.choice(np.array(HH_HELPFUL.longer.parts), size=(20_000, 4)).max(axis=1).mean()
    assert HH_HELPFUL.longer.longest_of(4) == pytest.approx(drawn, rel=0.02)


def test_templates_add_and_truncation_cuts() -> None:
    assert EVEN.plus(5).parts == (15, 25, 35, 45)
    assert EVEN.cut(25).parts == (10, 20, 25, 25)


def test_a_template_s_literals_are_counted_for_every_turn() -> None:
    system = Template(system="Be kind.", turn="USER: {prompt} ASSISTANT: {response}</s>")
    once = template_tokens(system, 1)
    assert template_tokens(system, 3) - once == 2 * (once - 3)
    last = system.model_copy(update={"multi_turn": "last"})
    assert template_tokens(last, 3) == once
    assert template_tokens(VICUNA, 1, world=True) == 3, (
        "USER:, ASSISTANT: and the end mark are words of the world"
    )


def test_pairs_of_a_data_set_in_a_template() -> None:
    data = PreferenceData(dataset="beavertails")
    found = pair_lengths(data, VICUNA, 2048)
    assert found.chosen.mean == BEAVERTAILS.chosen.mean + template_tokens(VICUNA, 1)
    assert pair_lengths(data, VICUNA, 100).longer.parts[-1] == 100


def test_a_mixture_lies_between_its_parts() -> None:
    def mean(preference: str) -> float:
        data = PreferenceData.model_validate({"dataset": "hh-rlhf", "preference": preference})
        return pair_lengths(data, PLAIN, 2048).chosen.mean

    assert mean("harmless+helpful") == pytest.approx((mean("harmless") + mean("helpful")) / 2)


def test_of_unknown_data_half_of_the_longest_is_assumed() -> None:
    data = PreferenceData(dataset="my.data:load")
    assert pair_lengths(data, PLAIN, 128).longer.mean == 64
    assert pair_lengths(data, PLAIN, 4096).longer.mean == lengths.UNKNOWN_ROW


def test_the_world_s_rows_are_short() -> None:
    data = PreferenceData(dataset="hh-rlhf", source=DataSource(world=WorldRecipe()))
    assert pair_lengths(data, VICUNA, 64).chosen.mean < 40


def test_the_stated_lengths_are_near_those_that_another_tokenizer_finds() -> None:
    """All of them, and with the tokenizer that they were measured with: tests/benchmarks/test_token_lengths.py."""
    assets = real_assets()
    pairs = preference_pairs(assets)["BEAVERTAILS"]
    chosen, longer = pair_counts(pairs, gpt2_counts(assets))
    assert chosen.mean() == pytest.approx(BEAVERTAILS.chosen.mean, rel=0.12)
    assert longer.mean() == pytest.approx(BEAVERTAILS.longer.mean, rel=0.12)
