"""A judge against given labels."""

import json
import math

import pytest

from tests.support.commands import ASSETS
from workers.context import BadInput
from workers.judging.agreement import Share, agreement, cohens_kappa, compare
from workers.judging.judge import Opinion
from workers.judging.labels import Labelled, read_labels

PAIRS = [
    Labelled(f"p{number}", ("one", "two"), label)
    for number, label in enumerate(["first"] * 4 + ["second"] * 4)
]


class Scripted:
    """A judge that says what it is told to, in terms of what it is shown."""

    def __init__(self, choices):
        self.choices = choices
        self.asked = []

    def opinions(self, questions, answers):
        self.asked = list(questions)
        return [Opinion(choice) for choice in self.choices]


def test_a_perfect_judge():
    judge = Scripted(
        [choice for label in PAIRS for choice in (label.label, {"first": "second"}.get(label.label, "first"))]
    )
    found = agreement(PAIRS, judge, both=True)
    assert judge.asked[1].outputs == ("two", "one")
    assert (found.accuracy.value, found.kappa.value, found.position_bias.value) == (1, 1, 0)
    assert (found.first_position.value, found.unparsed, found.items) == (0.5, 0, 8)
    assert 0.67 < found.accuracy.low < 0.68 and found.accuracy.high == pytest.approx(1)


def test_a_judge_that_always_takes_the_first():
    found = agreement(PAIRS, Scripted(["first"] * 16), both=True)
    assert found.accuracy.value == 0, "every pair is a flip, so a tie"
    assert (found.position_bias.value, found.first_position.value) == (1, 1)
    assert (found.by_order["as_given"].value, found.by_order["swapped"].value) == (0.5, 0.5)
    found = agreement(PAIRS, Scripted(["first"] * 8), both=False)
    assert (found.accuracy.value, found.kappa.value, found.position_bias) == (0.5, 0, None)


def test_equal_answers_are_a_tie_and_nobody_is_asked():
    same = Labelled("p", ("equal", "equal"), "tie")
    judge = Scripted(["first", "second"])
    found = agreement([same, PAIRS[0]], judge, both=True)
    assert len(judge.asked) == 2 and found.accuracy.value == 1 and found.unparsed == 0


def test_unparsed_verdicts_are_counted_and_left_out():
    found = compare(PAIRS, [["first", None], [None, None], *[["first", "first"]] * 6])
    assert (found.unparsed, found.items, found.accuracy.n) == (2, 8, 6)
    assert found.accuracy.value == pytest.approx(2 / 6)
    assert found.by_order["as_given"].n == 7 and found.by_order["swapped"].n == 6


def test_nothing_read_gives_no_figure():
    found = compare(PAIRS, [[None]] * 8)
    assert (found.accuracy.value, found.kappa.value, found.unparsed) == (None, None, 8)


def test_kappa_of_a_hand_made_table():
    pairs = [("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15
    found = cohens_kappa(pairs)
    assert found.value == pytest.approx(0.4)
    half = 1.959964 * math.sqrt(0.7 * 0.3 / 50) / 0.5
    assert (found.low, found.high) == pytest.approx((0.4 - half, 0.4 + half))
    sklearn = pytest.importorskip("sklearn.metrics")
    assert found.value == pytest.approx(sklearn.cohen_kappa_score(*zip(*pairs, strict=True)))
    assert cohens_kappa([("a", "a")] * 3) == Share(None, None, None, 3)


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"prompt": "p", "output_1": "a", "output_2": "b", "label": 1}, "first"),
        ({"instruction": "p", "output_1": "a", "output_2": "b", "preference": 2.0}, "second"),
        ({"prompt": "p", "output_1": "a", "output_2": "", "label": 0}, "tie"),
        ({"prompt": "p", "output_1": "a", "output_2": "b", "preference": 1.5}, "tie"),
        ({"prompt": "p", "output_1": "a", "output_2": "b", "label": "Tie"}, "tie"),
    ],
)
def test_labels_of_pairs(tmp_path, row, label):
    (tmp_path / "labels.jsonl").write_text(json.dumps(row))
    [found] = read_labels(tmp_path / "labels.jsonl", "pairwise")
    assert (found.prompt, found.label, len(found.outputs)) == ("p", label, 2)


@pytest.mark.parametrize(("given", "label"), [("yes", "yes"), (True, "yes"), (0, "no"), ("No", "no")])
def test_labels_of_single_answers(tmp_path, given, label):
    (tmp_path / "labels.json").write_text(json.dumps([{"prompt": "p", "output": "a", "label": given}]))
    [found] = read_labels(tmp_path / "labels.json", "verdict")
    assert (found.outputs, found.label) == (("a",), label)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "p", "output_1": "a", "label": 1}, "row 1: needs the texts prompt"),
        ({"prompt": "p", "output_1": "a", "output_2": "b", "label": 3}, "label .*'3'; allowed: 1, 2, 0"),
        ({"prompt": "p", "output_1": "a", "output_2": "b"}, "label .*'None'"),
    ],
)
def test_a_label_that_is_none(tmp_path, row, said):
    (tmp_path / "labels.jsonl").write_text(json.dumps(row))
    with pytest.raises(BadInput, match=said):
        read_labels(tmp_path / "labels.jsonl", "pairwise")


@pytest.mark.skipif(not ASSETS.is_dir(), reason="needs the assets folder beside the repository")
def test_alpaca_evals_stored_annotations_are_labels():
    path = ASSETS / "eval" / "alpaca_eval" / "gpt4_annotations.alpaca-7b_vs_davinci003.json"
    found = read_labels(path, "pairwise")
    counts = {label: sum(item.label == label for item in found) for label in ("first", "second", "tie")}
    assert counts == {"first": 584, "second": 205, "tie": 16}
    assert len(read_labels(path, "pairwise", 100)) == 100
