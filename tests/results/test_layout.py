"""Where everything of a workspace lies."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from results.layout import Workspace

IDENTITIES = st.text("0123456789abcdef", min_size=32, max_size=32)
TOKENS = st.from_regex(r"[0-9]{4}-[0-9a-f]{12}", fullmatch=True)
PLACES = (
    "plans",
    "submissions",
    "stages",
    "journals",
    "supervisors",
    "tombstones",
    "code",
    "cache",
    "logs",
    "store",
)


def test_every_kind_of_fact_has_a_place_of_its_own() -> None:
    workspace = Workspace(Path("/shared/runs"))
    found = {getattr(workspace, place) for place in PLACES}
    assert len(found) == len(PLACES)
    assert {path.parent for path in found} == {workspace.root}


@given(IDENTITIES, TOKENS)
def test_what_belongs_to_a_stage_lies_below_it(stage: str, token: str) -> None:
    workspace = Workspace(Path("runs"))
    directory = workspace.stage(stage)
    assert directory == Path("runs", "stages", stage[:2], stage)
    assert workspace.stage_file(stage) == directory / "stage.json"
    assert workspace.done_file(stage) == directory / "done.json"
    assert workspace.claims(stage) == directory / "claims"
    assert workspace.attempt(stage, token) == directory / "attempts" / token
    assert workspace.output(stage, token) == workspace.attempt(stage, token) / "output"
    assert workspace.tombstone(stage) == workspace.tombstones / stage


@given(st.lists(st.tuples(IDENTITIES, TOKENS), min_size=2, max_size=6, unique=True))
def test_no_two_attempts_share_a_directory(pairs: list[tuple[str, str]]) -> None:
    workspace = Workspace(Path("runs"))
    assert len({workspace.attempt(*pair) for pair in pairs}) == len(pairs)


def test_naming_a_place_makes_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "runs")
    for place in PLACES:
        getattr(workspace, place)
    workspace.output("ab" * 16, "token")
    assert not workspace.root.exists()


def test_equal_roots_are_equal_workspaces(tmp_path: Path) -> None:
    assert Workspace(tmp_path) == Workspace(tmp_path)
    assert len({Workspace(tmp_path), Workspace(tmp_path)}) == 1
