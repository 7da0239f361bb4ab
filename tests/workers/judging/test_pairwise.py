from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.judging.lab import (
    ANSWERS,
    PROMPTS,
    REFERENCES,
    figures,
    generations,
    judged,
    recipe_of,
    reference_file,
)
from workers.context import BadInput
from workers.judging.items import Item, without_thought
from workers.judging.judge import Opinion
from workers.judging.pairwise import compared, orders_of, questions_of, rows_of

ITEMS = [Item(number, f"p{number}", f"own {number}", 2, True, f"other {number}") for number in range(6)]
FIRST, SECOND, TIE, NONE = Opinion("first"), Opinion("second"), Opinion("tie"), Opinion(None)


def values(opinions, items=ITEMS, **others):
    recipe = recipe_of(**others)
    found = compared(items, opinions, recipe)
    rows = rows_of("t", found, recipe)
    return [each.verdict for each in found], {row["metric"]: row["value"] for row in rows}, rows


def test_both_orders_show_each_pair_twice_the_other_way_round():
    questions = questions_of(ITEMS[:2], recipe_of())
    assert [question.outputs for question in questions] == [
        ("own 0", "other 0"),
        ("other 0", "own 0"),
        ("own 1", "other 1"),
        ("other 1", "own 1"),
    ]


def test_verdicts_counts_and_bias_of_hand_made_opinions():
    opinions = [
        *(FIRST, SECOND),  # won in both orders
        *(SECOND, FIRST),  # lost in both
        *(FIRST, FIRST),  # whoever stands first
        *(TIE, TIE),
        *(FIRST, TIE),  # won once, tied once
        *(FIRST, NONE),
    ]
    verdicts, found, rows = values(opinions)
    assert verdicts == ["win", "loss", "flip", "tie", "win", "unparsed"]
    assert found["win_rate"] == (1 + 0 + 0.5 + 0.5 + 0.75) / 5
    assert [found[name] for name in ("wins", "losses", "ties", "flips", "unparsed", "unparsed_verdicts")] == [
        2,
        1,
        1,
        1,
        1,
        1,
    ]
    assert found["judged"] == 5 and rows[0]["n"] == 5
    assert found["position_bias"] == 1 / 5
    assert found["first_position"] == (1 + 0 + 0 + 1 + 1 + 1 + 1 + 1) / 8
    assert found["win_rate_shown_first"] == (1 + 0 + 1 + 0.5 + 1 + 1) / 6
    assert found["win_rate_shown_second"] == (1 + 0 + 0 + 0.5 + 0.5) / 5


def test_the_standard_error_is_that_of_the_mean():
    _, _, rows = values([FIRST, SECOND] * 3 + [SECOND, FIRST] * 3)
    assert (rows[0]["value"], rows[0]["stderr"]) == (0.5, pytest.approx((0.25 * 6 / 5 / 6) ** 0.5))


@pytest.mark.parametrize(
    ("rules", "value", "n"),
    [
        ({}, (1 + 0.5) / 2, 2),
        ({"ties": "loss"}, 0.5, 2),
        ({"unparsed": "half"}, (1 + 0.5 + 0.5) / 3, 3),
        ({"unparsed": "loss"}, (1 + 0.5 + 0) / 3, 3),
    ],
)
def test_ties_and_unparsed_verdicts_count_by_the_stated_rule(rules, value, n):
    verdicts, found, rows = values([FIRST, TIE, NONE], ITEMS[:3], orders="given", **rules)
    assert verdicts == ["win", "tie", "unparsed"], "the counts are the same under every rule"
    assert (found["win_rate"], rows[0]["n"]) == (pytest.approx(value), n)
    assert found["unparsed"] == 1 and "position_bias" not in found


def test_equal_answers_are_a_tie_and_nobody_is_asked():
    same = [Item(0, "p", "equal", 1, True, "equal"), ITEMS[1]]
    assert len(questions_of(same, recipe_of())) == 2
    verdicts, found, _ = values([FIRST, SECOND], same)
    assert verdicts == ["tie", "win"]
    assert (found["equal"], found["position_bias"], found["first_position"]) == (1, 0, 0.5)


@given(
    st.lists(st.sampled_from([FIRST, SECOND, TIE, NONE]), min_size=12, max_size=12),
    st.sampled_from(["half", "loss"]),
)
def test_every_item_is_counted_exactly_once_and_swapping_sides_mirrors_the_rate(opinions, ties):
    _, found, _ = values(opinions, ties=ties)
    names = ("wins", "losses", "ties", "flips", "unparsed")
    assert sum(found[name] for name in names) == len(ITEMS)
    mirror = {FIRST: SECOND, SECOND: FIRST}
    _, other, _ = values([mirror.get(opinion, opinion) for opinion in opinions])
    _, plain, _ = values(opinions)
    if plain["win_rate"] is not None:
        assert other["win_rate"] == pytest.approx(1 - plain["win_rate"])
    assert (other["wins"], other["losses"]) == (plain["losses"], plain["wins"])


def test_a_drawn_order_depends_on_seed_and_prompt_alone():
    recipe = recipe_of(orders="drawn", seed=1)
    items = [Item(number, f"p{number}", "a", 1, True, "b") for number in range(200)]
    orders = [orders_of(item, recipe) for item in items]
    assert orders == [orders_of(Item(0, item.prompt, "c", 1, True, "d"), recipe) for item in items]
    assert 70 < sum(order == (True,) for order in orders) < 130
    assert orders != [orders_of(item, recipe_of(orders="drawn", seed=2)) for item in items]
    assert orders_of(items[0], recipe_of(orders="swapped")) == (False,)


def test_against_an_opponent(tmp_path):
    parents = [generations(tmp_path, ANSWERS), generations(tmp_path, REFERENCES, role="opponent")]
    result, samples = judged(tmp_path, recipe_of(judge={"rule": "safety"}), parents)
    assert [sample["reference"] for sample in samples] == REFERENCES[:12]
    assert figures(result)["judged"] == 12
    assert figures(result)["reference_characters"] == pytest.approx(sum(map(len, REFERENCES[:12])) / 12)


def test_prompts_without_a_reference_are_counted(tmp_path):
    source = {"hub": str(reference_file(tmp_path, prompts=[*PROMPTS[:9], "x", "y", "z"]))}
    recipe = recipe_of(judge={"rule": "safety"}, reference={"source": source})
    result, samples = judged(tmp_path, recipe, [generations(tmp_path, ANSWERS)])
    assert (figures(result)["unmatched"], figures(result)["judged"], len(samples)) == (3, 9, 9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "alpaca"}, "unknown prompt set 'alpaca'"),
        ({"reference": None}, "needs a second answer: a parent in role `opponent`, or `reference`"),
        ({"outputs": (["x"] * 12, ["other"] * 12)}, "none of the 12 prompts of 'alpacaeval'"),
        ({"fields": {"output_field": "text"}}, "rows have no text in text; they have instruction, output"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_sentence(tmp_path, change, said):
    outputs = change.pop("outputs", (None, None))
    source = {"hub": str(reference_file(tmp_path, *outputs)), "files": []}
    fields = {
        "judge": {"rule": "safety"},
        "reference": {"source": source, **change.pop("fields", {})},
        **change,
    }
    with pytest.raises(BadInput, match=said):
        judged(tmp_path, recipe_of(**fields), [generations(tmp_path, ANSWERS)])
    with pytest.raises(BadInput, match="a parent in role `generations`"):
        judged(tmp_path, recipe_of(**fields), [])


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ("(Internal thought: be careful) I will not.", "I will not."),
        ("  (Internal thought: a (b) c) yes", "c) yes"),
        ("(Internal thought: never closed", "(Internal thought: never closed"),
        ("No (Internal thought: later)", "No (Internal thought: later)"),
        ("", ""),
    ],
)
def test_a_leading_thought_is_dropped_up_to_the_first_bracket(answer, left):
    assert without_thought(answer) == left


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"judge": {"rule": "safety", "causal": {}}}, "one of rule, classifier, causal, endpoint"),
        ({"shape": "score", "judge": {"endpoint": {"model": "m"}}}, "an endpoint gives no logits"),
        ({"labels": ["A"]}, "`labels` of shape pairwise are 2 or 3 words"),
        ({"shape": "verdict", "labels": ["a", "b", "c"]}, "`labels` of shape verdict are 2 words"),
    ],
)
def test_settings_that_contradict_each_other(settings, said):
    with pytest.raises(ValueError, match=said):
        recipe_of(**settings)


@pytest.mark.parametrize("others", [{}, {"ties": "loss", "unparsed": "loss"}])
def test_published_win_rates_follow_their_own_rules(others):
    one_order = {"orders": "given", "win_rates": ["legacy", "alpaca_eval"], **others}
    opinions = [FIRST, FIRST, SECOND, TIE, NONE, SECOND]
    _, found, rows = values(opinions, **one_order)
    assert found["win_rate_legacy"] == 2 / 5
    assert found["win_rate_alpaca_eval"] == (2 + 0.5) / 5
    legacy = next(row for row in rows if row["metric"] == "win_rate_legacy")
    assert (legacy["n"], legacy["primary"]) == (5, False)
    assert legacy["stderr"] == pytest.approx(np.std([1, 1, 0, 0, 0], ddof=1) / 5**0.5)


def test_equal_answers_and_contradictions_in_published_win_rates():
    items = [*ITEMS[:2], replace(ITEMS[2], reference=ITEMS[2].answer)]
    _, found, _ = values([FIRST, FIRST, FIRST, TIE], items, win_rates=["legacy", "alpaca_eval"])
    assert found["win_rate_legacy"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert found["win_rate_alpaca_eval"] == pytest.approx((0.5 + 0.75 + 0.5) / 3)
    assert "win_rate_legacy" not in values([FIRST, FIRST, FIRST, TIE], items)[1]
