"""`stage.json`: immutable, published once, and read back to the same stage."""

import json
from pathlib import Path

import pytest

from results.files import WorkspaceError
from results.layout import Workspace
from tests.support.grids import index_of, start_supervisor, submit_toys
from tests.support.toys import TOY, ToyRecipe
from workers.kinds import BUILT_IN, Kind, find_kind
from workers.specs.dpo import DPO, DpoRecipe
from workers.specs.training import Training
from workers.stage import Stage

PARENTS = (("base", "a" * 32), ("reference", "b" * 32))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


def toy(*parents: Stage, **settings: object) -> Stage:
    return Stage.create(TOY, ToyRecipe(**settings), tuple(("parent", parent.id) for parent in parents))


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_stage_of_every_kind_reads_back_equal(workspace: Workspace, name: str) -> None:
    kind = find_kind(name)
    stage = Stage.create(kind, kind.recipe(seed=7, threads=2), PARENTS)
    stage.write(workspace)
    read = Stage.read(workspace, stage.id)
    assert read == stage
    assert Stage.create(read.kind, read.recipe, read.parents).id == stage.id


def test_nested_settings_survive_the_way_through_the_file(workspace: Workspace) -> None:
    recipe = DpoRecipe(beta=0.3, training=Training(learning_rate=1e-7, steps=123456, schedule="cosine"))
    stage = Stage.create(DPO, recipe, PARENTS)
    stage.write(workspace)
    assert Stage.read(workspace, stage.id).recipe == recipe


def test_a_users_kind_is_found_again_by_its_module(workspace: Workspace) -> None:
    stage = toy(value=3.0)
    stage.write(workspace)
    assert json.loads(workspace.stage_file(stage.id).read_text())["kind"] == "tests.support.toys:TOY"
    assert Stage.read(workspace, stage.id) == stage


def test_equal_work_has_one_id_and_other_work_another() -> None:
    assert toy(value=2.0).id == toy(value=2.0).id
    parent = toy(value=1.0)
    newer = Kind(TOY.name, TOY.version + 1, TOY.recipe, TOY.runner, TOY.roles)
    found = [
        toy(value=2.0),
        toy(value=2.5),
        toy(value=2.0, seed=1),
        toy(value=2.0, threads=2),
        toy(parent, value=2.0),
        Stage.create(TOY, ToyRecipe(value=2.0), (("other", parent.id),)),
        Stage.create(newer, ToyRecipe(value=2.0)),
    ]
    assert len({stage.id for stage in found}) == len(found)


def test_a_change_far_above_renames_everything_below() -> None:
    def chain(value: float) -> list[str]:
        top = toy(value=value)
        middle = toy(top, value=2.0)
        return [top.id, middle.id, toy(middle, value=3.0).id]

    assert not set(chain(1.0)) & set(chain(1.1))


def test_the_file_says_every_setting_so_that_later_defaults_cannot_change_it(workspace: Workspace) -> None:
    stage = toy()
    stage.write(workspace)
    content = json.loads(workspace.stage_file(stage.id).read_text())
    assert set(content["recipe"]) == set(ToyRecipe.model_fields)
    assert (content["id"], content["version"]) == (stage.id, 1)


def test_a_second_writer_changes_nothing(workspace: Workspace) -> None:
    stage = toy()
    stage.write(workspace)
    path = workspace.stage_file(stage.id)
    before = (path.stat().st_ino, path.stat().st_mtime_ns)
    stage.write(workspace)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("content", [b"", b'{"kind": "sft"', b"\xff"])
def test_a_damaged_file_is_named(workspace: Workspace, content: bytes) -> None:
    stage = toy()
    stage.write(workspace)
    workspace.stage_file(stage.id).write_bytes(content)
    with pytest.raises(WorkspaceError, match=f"{stage.id}/stage.json"):
        Stage.read(workspace, stage.id)


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b'{"kind": "sft", "recipe": {"unheard_of": 1}, "parents": []}']
)
def test_a_file_that_is_json_but_no_stage_is_named_too(workspace: Workspace, content: bytes) -> None:
    stage = toy()
    stage.write(workspace)
    workspace.stage_file(stage.id).write_bytes(content)
    with pytest.raises(WorkspaceError, match="stage"):
        Stage.read(workspace, stage.id)


def test_a_kind_that_this_installation_lacks_is_named(workspace: Workspace) -> None:
    stage = toy()
    workspace.stage(stage.id).mkdir(parents=True)
    workspace.stage_file(stage.id).write_text('{"kind": "telepathy", "recipe": {}, "parents": []}')
    with pytest.raises(WorkspaceError, match="unknown stage kind 'telepathy'"):
        Stage.read(workspace, stage.id)


def test_a_damaged_stage_does_not_keep_the_others_from_running(workspace: Workspace) -> None:
    damaged, sound = toy(value=1.0), toy(value=2.0)
    submission = submit_toys(workspace, [damaged, sound])
    workspace.stage_file(damaged.id).write_bytes(b"{")
    start_supervisor(workspace, submission, linger=1.0).wait(60)
    assert sound.id in index_of(workspace).done
