"""Submissions: written before a scheduler is called, and read back the same by whoever runs them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.files import WorkspaceError
from results.layout import Workspace
from workers.recipe import Execution, Resources
from workers.submission import Submission, SubmittedBundle, SubmittedStage, later_submissions

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
STAGES = st.builds(
    SubmittedStage,
    stage=st.text("0123456789abcdef", min_size=32, max_size=32),
    kind=NAMES,
    parents=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    shape=NAMES,
    affinity=NAMES,
    cost=st.floats(0, 1e9),
    execution=st.integers(0, 3),
)
EXECUTIONS = st.builds(
    Execution,
    micro_batch=st.none() | st.integers(1, 64),
    checkpoint_steps=st.none() | st.integers(1, 9),
    hang_seconds=st.floats(0.1, 1e4),
    snapshots=st.lists(st.integers(1, 999), max_size=3).map(tuple),
    device=st.sampled_from(["auto", "cpu", "cuda"]),
)
SUBMISSIONS = st.builds(
    Submission,
    id=st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
    created=st.floats(0, 4e9),
    backend=st.sampled_from(["local", "slurm"]),
    plan=NAMES,
    code=NAMES,
    stages=st.lists(STAGES, max_size=4).map(tuple),
    executions=st.lists(EXECUTIONS, max_size=3).map(tuple),
    bundles=st.lists(
        st.builds(SubmittedBundle, NAMES, NAMES, st.lists(st.integers(0, 9), max_size=3).map(tuple)),
        max_size=3,
    ).map(tuple),
    shapes=st.dictionaries(NAMES, st.just(Resources(gpus=0.5).model_dump(mode="json")), max_size=2),
    hub_map=st.dictionaries(NAMES, NAMES, max_size=2),
)


def submission(identity: str, created: float, **others: str) -> Submission:
    fields = {"backend": "local", "plan": "p", "code": "c"} | others
    return Submission(id=identity, created=created, stages=(), executions=(), bundles=(), **fields)


@settings(max_examples=50, deadline=None)
@given(SUBMISSIONS)
def test_a_submission_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, written: Submission
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("runs"))
    written.write(workspace)
    assert Submission.read(workspace, written.id) == written
    assert [path.name for path in workspace.submissions.iterdir()] == [f"{written.id}.json"]


def test_a_submission_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Submission.read(Workspace(tmp_path), "nothing")


def test_a_damaged_submission_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    submission("one", 1.0).write(workspace)
    path = workspace.submissions / "one.json"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(WorkspaceError, match=r"one\.json"):
        Submission.read(workspace, "one")


def test_later_ones_come_oldest_first_whatever_their_names(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for identity, created in (("b", 10.0), ("z", 20.0), ("a", 40.0), ("m", 30.0)):
        submission(identity, created).write(workspace)
    own = Submission.read(workspace, "b")
    assert [later.id for later in later_submissions(workspace, own)] == ["z", "m", "a"]
    assert [later.id for later in later_submissions(workspace, Submission.read(workspace, "m"))] == ["a"]
    assert later_submissions(workspace, Submission.read(workspace, "a")) == []


@pytest.mark.parametrize("other", [{"backend": "slurm"}, {"code": "newer"}])
def test_submissions_to_another_backend_or_of_other_code_are_not_adopted(
    tmp_path: Path, other: dict[str, str]
) -> None:
    workspace = Workspace(tmp_path)
    own = submission("own", 1.0)
    own.write(workspace)
    submission("other", 2.0, **other).write(workspace)
    assert later_submissions(workspace, own) == []


def test_following_later_ones_ends(tmp_path: Path) -> None:
    """Adoption goes on from the adopted: even of equal times nobody is visited twice."""
    workspace = Workspace(tmp_path)
    for number in range(6):
        submission(f"s{number}", float(number // 2)).write(workspace)
    seen, own = [], Submission.read(workspace, "s0")
    while later := later_submissions(workspace, own):
        own = later[0]
        seen.append(own.id)
    assert len(seen) == len(set(seen)) == 2
