"""Searches on a real Ray: worse trials stop early, nothing is lost to a death, and what was stopped can go on."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import results
from cluster.ray.ledger import Ledger
from cluster.ray.tuning import BudgetStopper, GroupedScheduler, Past
from cluster.search import Asha, Scheduler, Search, SearchSettings
from results.layout import Workspace
from tests.support.commands import assert_same_store
from tests.support.ray import RayCluster, RayStudy

GRID = """
study: searching
name: "{group}/v{value}"
factors: {group: [1, 2]}
blocks:
  all:
    product: {group: all}
    search: {parameters: {value: [1, 2, 3, 4, 5, 6, 7, 8, 9]}}
search:
  stages: [leaf]
  metric: loss
  scheduler: SCHEDULER
  budget: BUDGET
pipeline:
  root:
    kind: "tests.support.toys:COUNT"
    recipe: {seed: 0, value: "${group}", steps: 2}
    resources: {memory_gb: 0.2}
    show: false
  leaf:
    kind: "tests.support.toys:COUNT"
    parents: {parent: root}
    recipe: {seed: "${group}", value: "${value}", steps: 9, training: {steps: 800}}
    resources: {memory_gb: 0.2}
  after:
    kind: "tests.support.toys:COUNT"
    parents: {parent: leaf}
    recipe: {seed: 0, value: 0.25, steps: 1}
    resources: {memory_gb: 0.2}
"""


@dataclass
class SearchStudy(RayStudy):
    """Two groups of nine trials of nine steps; the smaller the value, the better."""

    scheduler: str = "{asha: {grace_steps: 1, reduction_factor: 3}}"
    budget: str = "{}"

    def write_grid(self) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        grid = self.directory / "searching.yaml"
        grid.write_text(GRID.replace("SCHEDULER", self.scheduler).replace("BUDGET", self.budget))
        return grid

    def wait_until_over(self, seconds: float = 180.0) -> dict:
        """Wait until every experiment is done or stopped; the status then."""
        self.wait(lambda: self.unfinished() == 0, seconds, "the search to end")
        self.wait_until_quiet()
        return self.status()

    def unfinished(self) -> int:
        answer = self.status()
        return 18 - answer["done"] - answer["stopped"]

    def trials(self):
        """The attempts at leaves."""
        attempts = results.attempts(self.root)
        leaves = {one.stages["leaf"] for one in self.view().experiments.values()}
        return attempts[attempts["stage"].isin(leaves)]

    def view(self):
        from orchestrator.view import View

        return View(self.workspace)


@pytest.fixture
def search(cluster: RayCluster, tmp_path: Path) -> SearchStudy:
    return SearchStudy(tmp_path / "study", cluster, pause=0.05)


def test_worse_trials_stop_early_and_the_best_come_to_their_end(
    search: SearchStudy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    search.submit()
    answer = search.wait_until_over()
    assert answer["stopped"] >= 6 and answer["done"] >= 2 and answer["failed"] == 0
    frame = results.load(search.root)
    done = frame[frame["status"] == "done"]
    assert set(done.groupby("group")["value"].min()) == {1}, "the best of each group is never stopped"
    stopped = search.trials()[search.trials()["ending"] == "early_stopped"]
    assert set(stopped["step"]) <= {1, 3}, "a trial waits at its rung for the word"
    assert (stopped["message"] == "the search found others better").all()
    best = search.yates("best")
    assert re.search(r"1/v1\n +loss 0.1111", best.stdout), best.stdout
    assert "stopped early at step" in search.yates("why", stopped_name(frame)).stdout

    again = search.yates("resume")
    assert "nothing was submitted" in again.stdout, "what a search stopped is not taken up by itself"
    released = search.yates("resume", "--release", "--on", "local")
    assert released.returncode == 0, released.stdout + released.stderr
    here = SearchStudy(tmp_path_factory.mktemp("here"), pause=0.0).run_here()
    assert_same_store(here.root, search.root)
    steps = search.trials()
    assert (steps.groupby("stage")["step"].max() == 9).all()


def stopped_name(frame) -> str:
    return str(frame[frame["status"] == "stopped"]["name"].iloc[0])


def test_on_this_machine_every_trial_comes_to_its_end(tmp_path: Path) -> None:
    study = SearchStudy(tmp_path / "study", pause=0.0)
    done = study.yates("submit", study.write_grid())
    assert "only `--on ray` stops trials early" in done.stdout
    study.wait(lambda: study.status()["done"] == 18, 120, "all trials to be done")


@pytest.mark.parametrize("victim", ["driver", pytest.param("actor", marks=pytest.mark.slow)])
def test_a_search_goes_on_where_it_fell(search: SearchStudy, victim: str) -> None:
    """Nothing that was committed or stopped is run again, and no trial begins from its first step again."""
    search.pause = 0.15
    search.submit()
    search.wait(lambda: search.status()["stopped"] >= 1, 90, "a trial to be stopped")
    if victim == "driver":
        search.driver().kill()
        search.resume()
    else:
        search.actors()[0].kill()
    search.pause = 0.05
    answer = search.wait_until_over(240)
    assert answer["failed"] == 0 and answer["blocked"] == 0
    frame = results.load(search.root)
    assert set(frame[frame["status"] == "done"].groupby("group")["value"].min()) == {1}
    trials = search.trials()
    over = trials[trials["ending"].isin(["done", "early_stopped"])]
    assert (over.groupby("stage").size() == 1).all(), "each trial ends once"
    for _, tries in trials.groupby("stage"):
        last = tries.sort_values("number").iloc[-1]
        lost = tries[tries["ending"] == "lost"]
        if len(lost) and lost["step"].max() > 1:
            assert last["resumed_from"] >= 1


@pytest.mark.slow
def test_median_stopping(cluster: RayCluster, tmp_path: Path) -> None:
    study = SearchStudy(
        tmp_path / "study",
        cluster,
        pause=0.02,
        scheduler="{median_stopping: {grace_steps: 2, minimum_trials: 2}}",
    )
    study.submit()
    answer = study.wait_until_over()
    assert answer["stopped"] >= 1 and answer["failed"] == 0
    frame = results.load(study.root)
    assert set(frame[frame["status"] == "done"].groupby("group")["value"].min()) == {1}


@pytest.mark.slow
def test_what_a_budget_leaves_over_is_stopped(cluster: RayCluster, tmp_path: Path) -> None:
    study = SearchStudy(tmp_path / "study", cluster, pause=0.02, scheduler="{}", budget="{steps: 40}")
    study.submit()
    answer = study.wait_until_over()
    assert answer["failed"] == 0 and 3 <= answer["done"] <= 7
    trials = study.trials()
    assert trials.groupby("stage")["step"].max().sum() <= 40 + 2 * 9
    assert "the search's budget was used up" in set(trials["message"])
    assert "nothing was submitted" in study.yates("resume").stdout


@pytest.mark.slow
def test_a_cancelled_search_ends(search: SearchStudy) -> None:
    search.pause = 0.3
    search.submit()
    search.wait(search.running, 60, "a trial to take steps")
    assert search.yates("cancel").returncode == 0
    search.wait_until_quiet(90)
    assert search.status()["running"] == 0


def test_a_new_driver_remembers_what_earlier_ones_compared(tmp_path: Path) -> None:
    settings = SearchSettings(
        stages=("leaf",), metric="loss", scheduler=Scheduler(asha=Asha(grace_steps=1, reduction_factor=3))
    )
    trials = {f"s{number}": "group" for number in range(10)}
    search = Search(settings=settings, parameters=("value",), trials=trials)
    ledger = Ledger.of(Workspace(tmp_path), search)
    for number in range(9):
        ledger.note(f"s{number}", (1, float(number)))
    fresh, told = GroupedScheduler(search, ledger), GroupedScheduler(search, ledger)
    for number in range(9):
        told.recall(f"s{number}", "group")
    worst = Past("now", {"group": "group", "stage": "s9"})
    for scheduler, decision in ((fresh, "CONTINUE"), (told, "STOP")):
        scheduler.on_trial_add(None, worst)
        assert scheduler.on_trial_result(None, worst, {"steps": 1, "loss": 8.0}) == decision
    assert ledger.stopped("s9")


def test_the_ledger_passes_over_a_torn_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.note("a", (3, 0.5))
    ledger.note("a", (1, 0.75))
    ledger.note("a", (3, 0.25))
    with open(tmp_path / "a.jsonl", "a") as stream:
        stream.write("[4, 0.")
    assert ledger.reports("a") == [(1, 0.75), (3, 0.25)]
    assert ledger.reports("b") == []


def test_a_budget_of_steps_is_kept() -> None:
    stopper = BudgetStopper(12, before=2)
    assert not stopper("a", {"steps": 4}) and not stopper.stop_all()
    assert not stopper("b", {"steps": 5}) and not stopper.stop_all()
    assert not stopper("a", {"steps": 6}) and stopper.stop_all()
    assert not BudgetStopper(None).stop_all()
