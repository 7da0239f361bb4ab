"""What a supervisor takes next: its own list, then what that waits for, then what others left."""

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from results.journal import Index, Journal
from results.layout import Workspace
from results.records import Ending
from tests.results.lab import attempt
from workers import agenda as agenda_module
from workers import outlook as outlook_module
from workers.agenda import Agenda
from workers.outlook import Outlook
from workers.recipe import Execution
from workers.submission import Submission, SubmittedBundle, SubmittedStage


class World:
    """A submission of named stages, and one journal in which things happen to them.

    A stage is written `name` or `name<parent,parent`, with `@shape` and `~affinity` where they matter.
    """

    def __init__(self, root: Path, stages: str, *bundles: str, shapes: Iterable[str] = ()) -> None:
        self.workspace = Workspace(root)
        self.journal = Journal(self.workspace, "someone")
        self.numbers: dict[str, int] = {}
        submitted = tuple(self._stage(number, text) for number, text in enumerate(stages.split()))
        wanted = tuple(shapes) or ("cpu1",) * len(bundles)
        parts = tuple(
            SubmittedBundle(f"b{number}", shape, tuple(self.numbers[name] for name in names.split()))
            for number, (names, shape) in enumerate(zip(bundles, wanted, strict=True))
        )
        self.submission = Submission("s", 1.0, "local", "", "new", submitted, (Execution(),), parts)

    def _stage(self, number: int, text: str) -> SubmittedStage:
        text, _, affinity = text.partition("~")
        text, _, shape = text.partition("@")
        name, _, parents = text.partition("<")
        self.numbers[name] = number
        above = tuple(self.numbers[parent] for parent in parents.split(",") if parent)
        return SubmittedStage(name, "kind-" + name[0], above, shape or "cpu1", affinity, 1.0, 0)

    def agenda(self, bundle: int = 0) -> Agenda:
        return Agenda(Outlook(self.workspace, self.submission, "new", Index(self.workspace)), bundle)

    def claim(self, stage: str, number: int = 1) -> None:
        self.journal.claimed(stage, f"{stage}-{number}", 1.0)

    def end(self, stage: str, ending: Ending, number: int = 1, code: str = "new") -> None:
        record = attempt(stage, f"{stage}-{number}", ending, number=number, kind="kind-" + stage[0])
        record["fingerprint"] = {"code": code}
        self.journal.ended(record)

    def finish(self, *stages: str) -> None:
        for stage in stages:
            self.end(stage, "done")

    def order(self, bundle: int = 0) -> list[str]:
        """The stages one supervisor would run, one after another, were it alone from now on."""
        agenda, taken = self.agenda(bundle), []
        while (number := agenda.next()) is not None:
            taken.append(self.submission.stages[number].stage)
            self.finish(taken[-1])
            agenda.refresh(now=True)
        return taken

    def state(self, stage: str, bundle: int = 0) -> str:
        agenda = self.agenda(bundle)
        agenda.refresh(now=True)
        return agenda.outlook.state(self.numbers[stage])


def test_its_own_list_comes_first_and_then_what_others_left_from_the_end(tmp_path: Path) -> None:
    world = World(tmp_path, "a1 a2 b1 b2 b3", "b1 b2 b3", "a1 a2")
    assert world.order(1) == ["a1", "a2", "b3", "b2", "b1"]


def test_a_parent_that_nobody_holds_comes_before_strangers(tmp_path: Path) -> None:
    world = World(tmp_path, "x parent child<parent", "x parent", "child")
    assert world.order(1) == ["parent", "child", "x"]


def test_ancestors_come_oldest_first(tmp_path: Path) -> None:
    world = World(tmp_path, "a b<a c<b d<c,a", "", "d")
    assert world.order(1) == ["a", "b", "c", "d"]


def test_a_parent_in_no_bundle_at_all_is_taken_over(tmp_path: Path) -> None:
    world = World(tmp_path, "orphan child<orphan", "child")
    assert world.order() == ["orphan", "child"]


def test_stages_of_another_shape_are_left_to_others(tmp_path: Path) -> None:
    world = World(tmp_path, "g@gpu1 c<g d", "g", "c d", shapes=("gpu1", "cpu1"))
    assert world.order(1) == ["d"]
    assert world.agenda(1).unfinished()
    world.finish("g")
    assert world.order(1) == ["c"]


def test_strangers_on_the_same_base_model_come_first(tmp_path: Path) -> None:
    world = World(tmp_path, "own~mistral a~llama b~mistral c~llama d~mistral", "own", "a b c d")
    assert world.order() == ["own", "d", "b", "c", "a"]


def test_what_another_holds_is_tried_only_when_nothing_is_free(tmp_path: Path) -> None:
    world = World(tmp_path, "held free", "held free")
    world.claim("held")
    agenda = world.agenda()
    assert agenda.next() == world.numbers["free"]
    world.finish("free")
    agenda.refresh(now=True)
    assert agenda.next() == world.numbers["held"]


def test_a_skipped_stage_rests_for_a_moment_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, "only", "only")
    monkeypatch.setattr(agenda_module, "SKIP_SECONDS", 0.2)
    agenda = world.agenda()
    agenda.skip(0)
    assert agenda.next() is None
    assert agenda.unfinished()
    time.sleep(0.25)
    assert agenda.next() == 0


def test_a_stage_waits_until_every_parent_is_done(tmp_path: Path) -> None:
    world = World(tmp_path, "a b c<a,b", "a b c")
    assert world.state("c") == "waiting"
    world.finish("a")
    assert world.state("c") == "waiting"
    world.finish("b")
    assert world.state("c") == "ready"


def test_the_states_of_one_life(tmp_path: Path) -> None:
    world = World(tmp_path, "a", "a")
    assert world.state("a") == "ready"
    world.claim("a")
    assert world.state("a") == "open"
    world.end("a", "preempted")
    assert world.state("a") == "ready"
    world.claim("a", 2)
    world.end("a", "done", 2)
    assert world.state("a") == "done"


def test_a_diverged_parent_leaves_nothing_to_do(tmp_path: Path) -> None:
    world = World(tmp_path, "a child<a grandchild<child", "a child grandchild")
    world.end("a", "diverged")
    agenda = world.agenda()
    assert agenda.next() is None
    assert not agenda.unfinished()


def test_a_failed_stage_ends_its_own_branch_only(tmp_path: Path) -> None:
    world = World(tmp_path, "a b child<a other<b", "a b child other")
    world.end("a", "bug")
    assert world.state("a") == "unavailable"
    assert world.order() == ["b", "other"]
    assert not world.agenda().unfinished()


def test_a_bug_of_other_code_is_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path, "a", "a")
    world.end("a", "bug", code="old")
    assert world.order() == ["a"]


def test_a_forgiven_failure_is_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path, "a", "a")
    world.end("a", "bad_input")
    assert world.state("a") == "unavailable"
    world.journal.released("a", ["a-1"])
    assert world.state("a") == "ready"


def test_a_tombstone_takes_a_stage_away_and_its_removal_gives_it_back(tmp_path: Path) -> None:
    world = World(tmp_path, "a b<a", "a b")
    world.workspace.tombstones.mkdir()
    world.workspace.tombstone("a").touch()
    assert world.state("a") == "unavailable"
    assert not world.agenda().unfinished()
    world.workspace.tombstone("a").unlink()
    assert world.order() == ["a", "b"]


def test_what_is_done_stays_done_under_a_tombstone(tmp_path: Path) -> None:
    world = World(tmp_path, "a b<a", "a b")
    world.finish("a")
    world.workspace.tombstones.mkdir()
    world.workspace.tombstone("a").touch()
    assert world.state("a") == "done"
    assert world.order() == ["b"]


def test_three_alike_failures_hold_their_kind_and_no_other(tmp_path: Path) -> None:
    world = World(tmp_path, "k1 k2 k3 k4 other", "k1 k2 k3 k4 other")
    for stage in ("k1", "k2"):
        world.end(stage, "bug")
    assert world.state("k4") == "ready"
    world.end("k3", "bug")
    assert world.state("k4") == "unavailable"
    assert world.order() == ["other"]


def test_there_is_more_to_come_while_another_runs_the_parent(tmp_path: Path) -> None:
    world = World(tmp_path, "g@gpu1 c<g", "g", "c", shapes=("gpu1", "cpu1"))
    world.claim("g")
    agenda = world.agenda(1)
    assert agenda.next() is None
    assert agenda.unfinished()
    world.end("g", "bug")
    agenda.refresh(now=True)
    assert not agenda.unfinished()


def test_nothing_is_left_when_all_is_done(tmp_path: Path) -> None:
    world = World(tmp_path, "a b<a", "a", "b")
    world.finish("a", "b")
    for bundle in (0, 1):
        assert world.agenda(bundle).next() is None
        assert not world.agenda(bundle).unfinished()


def test_the_journals_are_not_read_at_every_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook_module, "REFRESH_SECONDS", 3600.0)
    world = World(tmp_path, "a", "a")
    agenda = world.agenda()
    assert agenda.next() == 0
    world.finish("a")
    assert agenda.next() == 0
    agenda.refresh(now=True)
    assert agenda.next() is None


@pytest.mark.parametrize("bundle", [0, 1, 2])
def test_whoever_is_alone_runs_everything_once_and_parents_first(tmp_path: Path, bundle: int) -> None:
    text = "a b c<a d<a,b e<c,d f g<f h<e,g"
    world = World(tmp_path, text, "a c e", "b d h", "f g")
    order = world.order(bundle)
    assert sorted(order) == sorted("abcdefgh")
    for part in text.split():
        name, _, parents = part.partition("<")
        assert all(order.index(parent) < order.index(name) for parent in parents.split(",") if parent)
