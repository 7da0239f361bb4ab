"""Two data sets drawn alike: equal numbers of rows in every class of length, none after earlier turns."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.context import BadInput
from workers.data.equalisation import common_quotas, length_class
from workers.data.selection import selected_pairs
from workers.specs.data import DataSource, Equalisation, PreferenceData

BOUNDS = (2, 4, 8)
counts = st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(0, 50), max_size=8)


@given(own=counts, other=counts, samples=st.none() | st.integers(1, 100))
def test_quotas_are_symmetric_possible_and_as_many_as_can_be(own, other, samples):
    quotas = common_quotas(own, other, samples)
    assert quotas == common_quotas(other, own, samples)
    assert all(0 <= count <= min(own[name], other[name]) for name, count in quotas.items())
    possible = sum(min(own[name], other[name]) for name in own.keys() & other.keys())
    assert sum(quotas.values()) == (possible if samples is None else min(samples, possible))


@given(own=counts, samples=st.integers(1, 100))
def test_a_set_equalised_with_itself_keeps_its_shares(own, samples):
    total = sum(own.values())
    quotas = common_quotas(own, own, samples)
    for name, count in own.items():
        assert abs(quotas[name] - count * min(1, samples / total if total else 1)) < 1


def _dialogue(number: int) -> dict[str, str]:
    before = "\n\nHuman: hello\n\nAssistant: hi" * (number % 3 == 0)
    before += f"\n\nHuman: {'p ' * (number % 7 + 1)}{number}\n\nAssistant:"
    return {"chosen": f"{before} {'a ' * (number % 5)}b", "rejected": f"{before} c"}


@pytest.fixture
def sources(tmp_path) -> dict[str, DataSource]:
    """Dialogues of one to three turns, and single questions, of overlapping lengths."""
    hh, pku = tmp_path / "hh", tmp_path / "pku"
    dialogues = [_dialogue(number) for number in range(120)]
    questions = [
        {
            "prompt": f"{'q ' * (number % 4)}{number}",
            "response_0": "a " * (number % 9) + "b",
            "response_1": "c",
            "is_response_0_safe": True,
            "is_response_1_safe": False,
            "better_response_id": 0,
        }
        for number in range(200)
    ]
    for folder, name, rows in ((hh / "harmless-base", "{}.jsonl", dialogues), (pku, "{}.jsonl", questions)):
        folder.mkdir(parents=True)
        for split in ("train", "test"):
            text = "".join(json.dumps(each) + "\n" for each in rows)
            (folder / name.format(split)).write_text(text)
    return {"hh-rlhf": DataSource(hub=str(hh)), "beavertails": DataSource(hub=str(pku))}


def alike(sources, own: str, other: str, **others) -> PreferenceData:
    rule = Equalisation(dataset=other, source=sources[other], lengths=BOUNDS)
    return PreferenceData(
        **{"dataset": own, "source": sources[own], "equalise": rule, "samples": 15} | others
    )


@pytest.mark.parametrize("samples", [15, None])
def test_both_data_sets_draw_the_same_lengths(context, sources, samples):
    histograms = []
    for own, other in (("hh-rlhf", "beavertails"), ("beavertails", "hh-rlhf")):
        pairs, found = selected_pairs(context, alike(sources, own, other, samples=samples), "train", 0)
        assert not any(pair.history for pair in pairs)
        assert found.dropped["several turns"] == (40 if own == "hh-rlhf" else 0)
        histograms.append(Counter(length_class(pair, BOUNDS) for pair in pairs))
    assert histograms[0] == histograms[1]
    assert sum(histograms[0].values()) == 15 if samples else len(histograms[0]) > 3


def test_a_fixed_subset_is_one_for_all_seeds_and_a_drawn_one_is_not(context, sources):
    fixed = alike(sources, "hh-rlhf", "beavertails")
    drawn = alike(sources, "hh-rlhf", "beavertails", sampling="per-seed")
    first, second = (selected_pairs(context, fixed, "train", seed)[0] for seed in (0, 1))
    assert first == second
    first, second = (selected_pairs(context, drawn, "train", seed)[0] for seed in (0, 1))
    assert set(first) != set(second)


def test_structure_may_stay_as_it_is(context, sources):
    data = alike(sources, "hh-rlhf", "beavertails")
    assert data.equalise is not None
    whole = data.model_copy(update={"equalise": data.equalise.model_copy(update={"single_turn": False})})
    pairs, found = selected_pairs(context, whole, "train", 0)
    assert any(pair.history for pair in pairs)
    assert found.dropped["several turns"] == 0


def test_mixtures_and_sets_without_a_common_length_are_refused(context, sources, tmp_path):
    with pytest.raises(BadInput, match="single preferences"):
        mixture = alike(sources, "beavertails", "hh-rlhf", preference="harmless+helpful")
        selected_pairs(context, mixture, "train", 0)
    row = {
        "prompt": "p " * 50,
        "response_0": "a",
        "response_1": "b",
        "is_response_0_safe": True,
        "is_response_1_safe": False,
    }
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    lengthy = {**sources, "beavertails": DataSource(hub=str(tmp_path))}
    with pytest.raises(BadInput, match="no class of length in common"):
        selected_pairs(context, alike(lengthy, "hh-rlhf", "beavertails"), "train", 0)
