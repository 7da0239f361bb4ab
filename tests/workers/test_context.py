"""What a running stage sees: parents, directories, signals, and rows that readers accept."""

import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.files import json_bytes
from results.layout import Workspace
from tests.support.toys import TOY, ToyRecipe
from workers.context import Parent, StageContext, StageStopped, metric
from workers.recipe import Execution
from workers.stage import Stage

NUMBERS = st.none() | st.integers(-(2**60), 2**60) | st.floats()


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    workspace, stage = Workspace(tmp_path), Stage.create(TOY, ToyRecipe())
    parents = [
        Parent(role, Stage.create(TOY, ToyRecipe(value=float(number))), tmp_path, [])
        for number, role in enumerate(["base", "merged", "merged"])
    ]
    return StageContext(workspace, stage, workspace.attempt(stage.id, "token"), parents, Execution())


def test_everything_it_writes_lies_in_its_attempt(context: StageContext) -> None:
    attempt = context.workspace.attempt(context.stage.id, "token")
    assert context.output == context.workspace.output(context.stage.id, "token")
    assert context.output.parent == context.checkpoints.parent == attempt
    assert context.output != context.checkpoints


def test_a_parent_is_found_by_its_role_and_the_first_of_several_counts(context: StageContext) -> None:
    assert context.parent("base") is context.parents[0]
    assert context.parent("merged") is context.parents[1]
    assert context.parent("reference") is None


def test_a_stage_is_stopped_only_when_it_was_asked_to(context: StageContext) -> None:
    context.raise_if_stopped()
    context.stop_requested = lambda: True
    with pytest.raises(StageStopped):
        context.raise_if_stopped()


def test_progress_reaches_whoever_watches(context: StageContext) -> None:
    told: list[tuple[int, int | None]] = []
    context.on_progress = lambda step, total: told.append((step, total))
    context.progress(1)
    context.progress(2, 10)
    assert told == [(1, None), (2, 10)]


def test_phases_add_up_under_their_names_also_when_they_fail(context: StageContext) -> None:
    for _ in range(2):
        with context.phase("load"):
            time.sleep(0.02)
    with pytest.raises(ValueError, match="half way"), context.phase("compute"):
        time.sleep(0.02)
        raise ValueError("half way")
    assert set(context.seconds) == {"load", "compute"}
    assert 0.04 <= context.seconds["load"] < 2.0
    assert 0.02 <= context.seconds["compute"] < 2.0


def test_two_contexts_share_nothing_unless_told_to(context: StageContext) -> None:
    other = StageContext(context.workspace, context.stage, context.attempt, [], Execution())
    context.seconds["load"] = 1.0
    context.memory["model"] = object()
    context.hub_map["a"] = "b"
    assert (other.seconds, other.memory, other.hub_map) == ({}, {}, {})


@given(NUMBERS, NUMBERS)
def test_every_metric_row_can_be_committed(value: float | None, stderr: float | None) -> None:
    row = metric("mmlu", value, stderr=stderr, n=3, step=7, unit="fraction", primary=True)
    assert json_bytes(row)
    for given_number, kept in ((value, row["value"]), (stderr, row["stderr"])):
        finite = given_number is not None and math.isfinite(given_number)
        assert kept == (float(given_number) if finite else None)


def test_a_metric_row_is_plain_whatever_number_it_was_given() -> None:
    numpy = pytest.importorskip("numpy")
    row = metric("loss", numpy.float32(0.5), stderr=numpy.float64("nan"))
    assert (type(row["value"]), row["value"], row["stderr"]) == (float, 0.5, None)
    assert (row["metric"], row["primary"], row["unit"]) == ("value", False, "")
