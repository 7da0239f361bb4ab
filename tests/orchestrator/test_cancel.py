"""Cancelling: exactly the work that only the selected experiments need."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cancel import cancel
from results.layout import Workspace
from tests.orchestrator.lab import NAMES, Lab, chosen, stage_id


def cancelled(lab: Lab, *experiments: str) -> list[str]:
    view = lab.view()
    return cancel(view, chosen(view, *experiments))


def ids(*names: str) -> list[str]:
    return sorted(stage_id(name) for name in names)


def tombstones(lab: Lab) -> list[str]:
    directory = lab.workspace.tombstones
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def test_one_experiment_loses_its_own_stages_and_the_shared_parent_goes_on(lab: Lab) -> None:
    assert cancelled(lab, "sft/s0") == ids("train-sft-0", "eval-sft-0")
    assert tombstones(lab) == ids("train-sft-0", "eval-sft-0")


def test_all_experiments_lose_everything(lab: Lab) -> None:
    assert len(cancelled(lab)) == 9
    assert stage_id("base") in tombstones(lab)


def test_no_experiment_loses_nothing(lab: Lab) -> None:
    assert cancel(lab.view(), []) == []
    assert tombstones(lab) == []


def test_what_is_done_gets_no_tombstone(lab: Lab) -> None:
    lab.finish("base", "train-sft-0")
    assert cancelled(lab, "sft/s0") == ids("eval-sft-0")


def test_a_finished_experiment_needs_nothing_any_more(lab: Lab) -> None:
    """The parent of three finished experiments was lost; the fourth alone would have it made again."""
    for name in ("sft-1", "dpo-0", "dpo-1"):
        lab.finish(f"train-{name}", f"eval-{name}")
    assert cancelled(lab, "sft/s0") == ids("base", "train-sft-0", "eval-sft-0")


def test_an_experiment_that_failed_still_needs_its_parents(lab: Lab) -> None:
    for name in ("sft-1", "dpo-0"):
        lab.finish(f"train-{name}", f"eval-{name}")
    lab.fail("train-dpo-1")
    assert stage_id("base") not in cancelled(lab, "sft/s0")


def test_a_running_stage_is_cancelled_too(lab: Lab) -> None:
    lab.finish("base")
    lab.claim("train-sft-0")
    assert stage_id("train-sft-0") in cancelled(lab, "sft/s0")


def test_cancelling_twice_is_cancelling_once(lab: Lab) -> None:
    first = cancelled(lab, "sft/s0")
    assert cancelled(lab, "sft/s0") == first == tombstones(lab)


@pytest.mark.parametrize("order", [("sft/s0", "sft/s1"), ("sft/s1", "sft/s0")])
def test_cancelling_one_after_another_leaves_the_shared_parent_to_the_rest(lab: Lab, order) -> None:
    for name in order:
        cancelled(lab, name)
    assert tombstones(lab) == ids("train-sft-0", "eval-sft-0", "train-sft-1", "eval-sft-1")


@settings(max_examples=20, deadline=None)
@given(selected=st.sets(st.sampled_from(NAMES)), done=st.sets(st.sampled_from(NAMES)), base=st.booleans())
def test_no_stage_that_another_experiment_needs_is_ever_cancelled(
    tmp_path_factory, selected, done, base
) -> None:
    lab = Lab(Workspace(tmp_path_factory.mktemp("cancel")))
    if base:
        lab.finish("base")
    for name in sorted(done):
        lab.finish(f"train-{name.replace('/s', '-')}", f"eval-{name.replace('/s', '-')}")
    view = lab.view()
    found = set(cancel(view, [one for one in view.experiments.values() if one.row.name in selected]))
    own = {
        name: set(ids(f"train-{name.replace('/s', '-')}", f"eval-{name.replace('/s', '-')}"))
        for name in NAMES
    }
    expected = set().union(*(own[name] for name in selected - done))
    if selected and not base and not set(NAMES) - selected - done:
        expected.add(stage_id("base"))
    assert found == expected
