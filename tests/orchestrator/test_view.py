"""What is known of a workspace: states that follow from journals, claims and the processes that made them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.remainder import remainder
from results.files import WorkspaceError
from results.layout import Workspace
from results.status import Counts
from tests.orchestrator.lab import NAMES, Lab, chosen, dead, elsewhere, experiment_id, stage_id, study


def statuses(lab: Lab, code: str | None = None) -> dict[str, str]:
    view = lab.view(code)
    return {one.row.name: view.survey.experiments[one.id] for one in view.experiments.values()}


def test_nothing_ran_so_everything_is_pending(lab: Lab) -> None:
    assert statuses(lab) == dict.fromkeys(NAMES, "pending")
    assert lab.view().counts() == Counts(pending=4)


def test_an_experiment_knows_its_levels_and_its_own_stages(lab: Lab) -> None:
    one = lab.view().find("dpo/s1")
    assert one.factors == {
        "method": "dpo",
        "seed": 1,
        "scale": "tiny",
        "preset": "corrected",
        "study": "study",
    }
    assert one.stages == {"train": stage_id("train-dpo-1"), "evaluate": stage_id("eval-dpo-1")}


def test_a_claim_counts_as_running_while_its_worker_lives(lab: Lab) -> None:
    lab.finish("base")
    lab.claim("train-sft-0")
    assert statuses(lab)["sft/s0"] == "running"


def test_a_claim_of_a_dead_worker_is_pending(lab: Lab) -> None:
    lab.worker("late", dead())
    lab.claim("train-sft-0")
    assert statuses(lab)["sft/s0"] == "pending"


def test_a_claim_of_a_worker_that_left_no_file_is_pending(lab: Lab) -> None:
    lab.claim("train-sft-0")
    lab.leave()
    assert statuses(lab)["sft/s0"] == "pending"


def test_a_worker_of_another_machine_is_taken_to_live(lab: Lab) -> None:
    lab.leave()
    lab.worker("far", elsewhere())
    lab.claim("train-sft-0")
    view = lab.view()
    assert view.survey.stages[stage_id("train-sft-0")] == "running"
    assert [record["name"] for record in view.live_supervisors()] == ["far"]


def test_a_stage_runs_when_one_of_two_claims_lives(lab: Lab) -> None:
    lab.leave()
    lab.worker("late", dead())
    lab.claim("train-sft-0")
    lab.worker("alive")
    lab.claim("train-sft-0")
    assert statuses(lab)["sft/s0"] == "running"


def test_a_commit_that_its_worker_could_not_journal_counts(lab: Lab) -> None:
    lab.worker("late", dead())
    lab.finish("base", "train-sft-0", "eval-sft-0", journalled=False)
    assert statuses(lab)["sft/s0"] == "done"


def test_a_divergence_that_its_worker_could_not_journal_is_one(lab: Lab) -> None:
    lab.finish("base")
    lab.worker("late", dead())
    lab.finish("train-sft-0", outcome="diverged", journalled=False)
    assert statuses(lab)["sft/s0"] == "diverged"


def test_refresh_sees_what_was_written_since(lab: Lab) -> None:
    view = lab.view()
    lab.finish("base", "train-sft-0", "eval-sft-0")
    assert view.counts() == Counts(pending=4)
    view.refresh()
    assert view.counts() == Counts(done=1, pending=3)


def test_refresh_sees_that_a_worker_died(lab: Lab) -> None:
    lab.claim("base")
    view = lab.view()
    assert view.survey.stages[stage_id("base")] == "running"
    lab.worker("worker-1", dead())
    view.refresh()
    assert view.survey.stages[stage_id("base")] == "pending"
    assert view.live_supervisors() == []


def test_a_half_written_worker_file_is_no_worker(lab: Lab) -> None:
    lab.claim("train-sft-0")
    (lab.workspace.supervisors / "worker-1.json").write_text('{"name": "wor')
    view = lab.view()
    assert view.live_supervisors() == []
    assert view.survey.stages[stage_id("train-sft-0")] == "pending"


def test_a_failure_blocks_what_stands_on_it_and_nothing_else(lab: Lab) -> None:
    lab.finish("base")
    lab.fail("train-sft-0")
    view = lab.view()
    assert view.survey.stages[stage_id("eval-sft-0")] == "blocked"
    assert statuses(lab) == {
        "sft/s0": "failed",
        "sft/s1": "pending",
        "dpo/s0": "pending",
        "dpo/s1": "pending",
    }


def test_a_failed_shared_parent_blocks_every_experiment(lab: Lab) -> None:
    lab.fail("base")
    assert statuses(lab) == dict.fromkeys(NAMES, "blocked")


def test_three_failures_alike_hold_the_rest_of_their_kind(lab: Lab) -> None:
    lab.finish("base", "train-sft-0", "train-sft-1", "train-dpo-0", "train-dpo-1")
    for number, name in enumerate(("eval-sft-0", "eval-sft-1", "eval-dpo-0")):
        lab.fail(name, message=f"no column 'answer' in row {number}")
    view = lab.view()
    assert view.survey.stages[stage_id("eval-dpo-1")] == "held"
    assert view.held == {
        "evaluate": "3 stages failed alike (evaluate: bug: no column 'answer' in row #); "
        "mend it, then `yates resume --release`"
    }


def test_new_code_tries_bugs_again(lab: Lab) -> None:
    lab.fail("base", fingerprint={"code": "old"})
    assert statuses(lab, code="old")["sft/s0"] == "blocked"
    assert statuses(lab, code="new")["sft/s0"] == "pending"


@pytest.mark.parametrize("ending", ["lost", "preempted", "cancelled"])
def test_an_interruption_is_no_failure(lab: Lab, ending: str) -> None:
    lab.fail("base", ending=ending)
    assert statuses(lab) == dict.fromkeys(NAMES, "pending")


def test_an_experiment_is_found_by_id_prefix_and_name(lab: Lab) -> None:
    view = lab.view()
    identity = experiment_id("sft/s1")
    found = [view.find(text) for text in (identity, identity[:8], "sft/s1")]
    assert [one.id for one in found] == [identity] * 3


def test_an_unknown_experiment_names_the_nearest(lab: Lab) -> None:
    with pytest.raises(WorkspaceError) as error:
        lab.view().find("dpo/s7")
    root = lab.workspace.root
    assert str(error.value) == f"no experiment 'dpo/s7' in {root}; did you mean 'dpo/s1'?"


def test_an_unknown_experiment_that_is_near_none_says_what_lists_them(lab: Lab) -> None:
    with pytest.raises(WorkspaceError, match=r"no experiment 'zzzz' in .*; `yates results` lists them"):
        lab.view().find("zzzz")


def test_a_name_that_several_experiments_have_asks_for_an_id(tmp_path) -> None:
    paper = study(created=2.0, scale="paper")
    rows = [row._replace(experiment=experiment_id(f"paper {row.name}")) for row in paper.experiments]
    paper.experiments[:] = rows
    both = Lab(Workspace(tmp_path), [study(), paper])
    with pytest.raises(WorkspaceError) as error:
        both.view().find("sft/s0")
    small, large = experiment_id("sft/s0"), experiment_id("paper sft/s0")
    assert str(error.value) == (
        "'sft/s0' fits 2 experiments; name one by its id: "
        f"{small} (tiny, corrected), {large} (paper, corrected)"
    )


def test_of_two_plans_the_newer_decides_what_an_experiment_is(tmp_path) -> None:
    newer = study(created=2.0, preset="as-published")
    both = Lab(Workspace(tmp_path), [study(), newer])
    view = both.view()
    assert len(view.experiments) == 4
    assert {one.factors["preset"] for one in view.experiments.values()} == {"as-published"}


def test_counts_of_a_selection(lab: Lab) -> None:
    lab.finish("base", "train-sft-0", "eval-sft-0")
    view = lab.view()
    assert view.counts(chosen(view, "sft/s0")) == Counts(done=1)
    assert view.counts(chosen(view, "sft/s1", "dpo/s0")) == Counts(pending=2)


FATES = st.fixed_dictionaries(
    {
        name: st.sampled_from(["nothing", "done", "done", "bug", "lost", "held by a worker"])
        for name in [
            "base",
            *(f"{part}-{name.replace('/s', '-')}" for name in NAMES for part in ("train", "eval")),
        ]
    }
)


@settings(max_examples=20, deadline=None)
@given(fates=FATES)
def test_whatever_happened_the_remainder_is_what_can_still_run(tmp_path_factory, fates) -> None:
    """For any fate of the nine stages: every experiment has one status, and the remainder is sound."""
    lab = Lab(Workspace(tmp_path_factory.mktemp("fates")))
    for name, fate in fates.items():
        if name == "base" or (fates["base"] == "done" and _ready(name, fates)):
            _happen(lab, name, fate)
    view = lab.view()
    assert view.counts().total == 4
    states = view.survey.stages
    items = remainder(view, view.experiments.values(), {})
    order = [item.stage for item in items]
    assert len(set(order)) == len(order)
    assert {stage for stage, state in states.items() if state in ("pending", "running")} == set(order)
    for item in items:
        for parent in item.parents:
            assert parent in view.index.done or order.index(parent) < order.index(item.stage)


def _happen(lab: Lab, name: str, fate: str) -> None:
    if fate == "done":
        lab.finish(name)
    elif fate == "held by a worker":
        lab.claim(name)
    elif fate != "nothing":
        lab.fail(name, ending=fate, message=name)


def _ready(name: str, fates: dict[str, str]) -> bool:
    return name.startswith("train") or fates[name.replace("eval", "train")] == "done"
