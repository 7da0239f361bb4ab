"""Curves, samples, attempts and recipes: thinned, cut, found again, and left out where there is no room."""

import base64
import gzip
import json

import pyarrow as pa
import pytest

from results.report.curves import thinned_curves
from results.report.details import STAGES_A_CHUNK, details_of
from results.report.grouping import Group
from results.report.samples import first_samples
from results.schema import CURVES, SAMPLES
from tests.results.report.lab import EVIL, source, stored


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("details") / "runs", EVIL)


def found(workspace, budget: int = 1_000_000, samples: bool = True):
    read = source(workspace)
    group = Group.of(read, "toy")
    return group, details_of(group, read, budget, samples)


def stage(details, number: int):
    text = details.texts[number // STAGES_A_CHUNK]
    return json.loads(gzip.decompress(base64.b64decode(text)))[number % STAGES_A_CHUNK]


def details_by_name(group, details):
    names = [name.removeprefix("name of ") for name in group.experiments["name"].to_pylist()]
    return {
        name: {role: stage(details, number) for role, number in place}
        for name, place in zip(names, details.places, strict=True)
        if place is not None
    }


def test_every_experiment_has_its_stages(workspace) -> None:
    group, details = found(workspace)
    everything = details_by_name(group, details)
    assert len(everything) == 12
    one = everything["small-sft-0"]
    assert list(one) == ["train", "evaluate"]
    assert one["train"]["id"] == "train-small-sft-0"
    assert one["train"]["parents"] == [["evaluate", "base-small"]]
    assert one["train"]["recipe"] == {"training": {"steps": 300, "note": EVIL}}
    assert one["evaluate"]["recipe"] is None
    (curve,) = one["train"]["curves"]
    assert (curve[0], curve[1][0], curve[1][-1], len(curve[1])) == ("loss", 0, 299, 120)
    assert [sample["item"] for sample in one["evaluate"]["samples"]] == list(range(6))
    assert everything["large-dpo-1"]["train"]["attempts"][0]["traceback"] == EVIL


def test_texts_of_models_are_left_out_on_demand_and_control_characters_written_out(workspace) -> None:
    group, details = found(workspace, samples=False)
    assert details_by_name(group, details)["small-sft-0"]["evaluate"]["samples"] == []
    group, details = found(workspace)
    text = details_by_name(group, details)["small-sft-0"]["evaluate"]["samples"][0]["completion"]
    assert "\u202e" not in text and "\\u202e" in text


def test_without_room_there_are_no_details_and_what_failed_comes_first(workspace) -> None:
    group, details = found(workspace, budget=10)
    assert details.texts == [] and details.places == [None] * 12
    _, whole = found(workspace)
    group, details = found(workspace, budget=len(whole.texts[0]))
    assert len(details.texts) == 1
    kept = [
        name
        for name, place in zip(group.experiments["status"].to_pylist(), details.places, strict=True)
        if place
    ]
    assert "failed" in kept and len(kept) == 12


def curves(rows) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(CURVES.names, row, strict=True)) for row in rows], CURVES)


def test_a_curve_in_several_pieces_and_out_of_order_is_one() -> None:
    pieces = [
        curves([("a", 3, "loss", 0.123456), ("b", 1, "loss", 5.0)]),
        curves([("a", 1, "loss", float("nan"))]),
    ]
    assert thinned_curves(pieces, pa.array(["a", "b"]), 10) == {
        "a": [["loss", [1, 3], [None, 0.1235]]],
        "b": [["loss", [1], [5.0]]],
    }
    assert thinned_curves([], pa.array(["a"]), 10) == {}


def test_a_thinned_curve_keeps_its_ends() -> None:
    piece = curves([("a", step, "loss", float(step)) for step in range(1000)])
    ((_, steps, values),) = thinned_curves([piece], pa.array(["a"]), 7)["a"]
    assert len(steps) == 7 and (steps[0], steps[-1], values[-1]) == (0, 999, 999.0)


def test_the_first_samples_of_each_task_wherever_they_stand() -> None:
    rows = [
        {"stage": "a", "task": task, "item": item, "completion": "c"} for item in (3, 1, 2) for task in "xy"
    ]
    pieces = [pa.Table.from_pylist([row], SAMPLES) for row in rows]
    shown = first_samples(pieces, 2)["a"]
    assert [(one["task"], one["item"]) for one in shown] == [("x", 1), ("x", 2), ("y", 1), ("y", 2)]
    assert first_samples([], 2) == {}


def test_a_long_text_is_cut_and_says_so() -> None:
    piece = pa.Table.from_pylist([{"stage": "a", "task": "x", "item": 0, "completion": "c" * 5000}], SAMPLES)
    assert first_samples([piece], 1)["a"][0]["completion"].endswith("… 3000 more characters")
