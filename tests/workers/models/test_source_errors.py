"""Where models lie, and what is said when they do not lie there. No model is loaded."""

import json
from pathlib import Path

import pytest

from tests.support.toys import TOY, ToyRecipe
from tests.support.training import SFT, Lab, sft_recipe
from workers.contents import content_digest
from workers.context import BadInput, Parent, StageContext
from workers.data.files import source_directory
from workers.evaluation.sources import locate
from workers.models.loading import read_tokenizer, trained_directory
from workers.models.sources import (
    base_source,
    committed_parent,
    hub_directory,
    hub_source,
    parent_source,
    stage_output,
)
from workers.specs.data import DataSource
from workers.specs.model import ModelRecipe
from workers.stage import Stage


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path / "runs")


@pytest.fixture
def model(tmp_path) -> Path:
    """A directory that looks like a model."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    return directory


def toy(lab: Lab, value: float = 1.0, *parents: tuple[str, str]) -> Stage:
    stage = Stage.create(TOY, ToyRecipe(value=value), parents)
    stage.write(lab.workspace)
    return stage


def committed(lab: Lab, value: float) -> Stage:
    stage = toy(lab, value)
    content = json.dumps({"stage": stage.id, "attempt": "winner"})
    lab.workspace.done_file(stage.id).write_text(content)
    return stage


def context_of(lab: Lab, **hub_map: str) -> StageContext:
    return lab.context(
        toy(lab), (), hub_map={name.replace("__", "/"): path for name, path in hub_map.items()}
    )


def test_the_map_comes_before_a_local_path(model: Path, tmp_path, monkeypatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub_directory({}, "org/name") == Path("org/name")
    assert hub_directory({"org/name": str(model)}, "org/name") == model


def test_a_home_directory_is_expanded(model: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(model.parent))
    assert hub_directory({"org/name": "~/model"}, "org/name") == model
    assert hub_directory({}, "~/model") == model


@pytest.mark.parametrize(
    ("hub", "revision", "repository", "said"),
    [
        ("org/absent", None, "model", "model 'org/absent' is not on this machine"),
        ("org/absent", "main", "model", "model 'org/absent' at revision main is not on this machine"),
        ("org/absent", None, "dataset", "dataset 'org/absent' is not on this machine"),
        ("not a hub id!", None, "model", "model 'not a hub id!' is not on this machine"),
        ("nosuch/path/to/model", None, "model", "model 'nosuch/path/to/model' is not on this machine"),
    ],
)
def test_what_is_nowhere_is_named_with_where_was_looked(
    tmp_path, monkeypatch, hub: str, revision: str | None, repository: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput) as error:
        hub_directory({}, hub, revision, repository)
    assert str(error.value).startswith(said)
    assert "not in the hub map, not a local path, not in the hub's cache" in str(error.value)


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        (ModelRecipe(hub="org/name", digest="abc", revision="main"), "hub:org/name@abc"),
        (ModelRecipe(hub="org/name", revision="main"), "hub:org/name@main"),
    ],
)
def test_what_is_kept_is_keyed_by_content_before_place(lab: Lab, model: Path, recipe, key: str) -> None:
    source = hub_source(context_of(lab, org__name=str(model)), recipe)
    assert (source.key, source.name, source.directory) == (key, "org/name", model)


def test_a_model_or_data_that_changed_since_the_plan_are_refused(lab: Lab, model: Path) -> None:
    context, digest = context_of(lab, org__name=str(model)), content_digest(model)
    source = DataSource(hub="org/name", digest=digest)
    readers = [
        lambda: hub_source(context, ModelRecipe(hub="org/name", digest=digest)),
        lambda: source_directory(context, source),
        lambda: locate(source, context),
    ]
    for read in readers:
        read()
    (model / "config.json").write_text("[]")
    for read in readers:
        with pytest.raises(BadInput, match="is not what the plan saw"):
            read()


def test_two_places_without_a_digest_are_two_models(lab: Lab, model: Path, tmp_path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    recipe = ModelRecipe(hub="org/name")
    keys = {hub_source(context_of(lab, org__name=str(path)), recipe).key for path in (model, other)}
    assert len(keys) == 2


def test_a_parent_in_role_base_comes_before_the_hub(lab: Lab, model: Path) -> None:
    stage = toy(lab)
    parent = Parent("base", stage, model.parent, [])
    context = lab.context(toy(lab, 2.0, ("base", stage.id)), (parent,))
    source = base_source(context, ModelRecipe(hub="org/name"))
    assert (source.key, source.name) == (f"stage:{stage.id}", f"stage-{stage.id}")
    assert source.directory == model


def test_a_parent_that_left_no_model_is_named_with_its_kind(lab: Lab, tmp_path) -> None:
    stage = toy(lab)
    with pytest.raises(BadInput, match=rf"stage {stage.id} \(toy\) left no model: .*model does not exist"):
        parent_source(Parent("base", stage, tmp_path / "output", []))


def test_the_output_of_a_stage_is_that_of_the_attempt_that_won(lab: Lab) -> None:
    stage = committed(lab, 1.0)
    assert stage_output(lab.workspace, stage.id) == lab.workspace.output(stage.id, "winner")


def test_a_committed_parent_is_the_first_in_its_role(lab: Lab) -> None:
    first, second = committed(lab, 1.0), committed(lab, 2.0)
    child = toy(lab, 3.0, ("merged", first.id), ("merged", second.id))
    parent = committed_parent(lab.workspace, child, "merged")
    assert parent is not None and parent.stage == first
    assert committed_parent(lab.workspace, child, "base") is None


def test_a_parent_that_is_not_done_is_named(lab: Lab) -> None:
    child = toy(lab, 3.0, ("base", toy(lab, 4.0).id))
    with pytest.raises(BadInput, match=f"stage {toy(lab, 4.0).id} is not done"):
        committed_parent(lab.workspace, child, "base")


def test_a_directory_without_a_tokenizer_is_named(tmp_path) -> None:
    with pytest.raises(BadInput, match=f"no tokenizer could be loaded from {tmp_path}: "):
        read_tokenizer(tmp_path)


def test_the_end_of_a_training_and_its_last_step_are_one_directory(lab: Lab, tmp_path) -> None:
    stage = lab.stage(SFT, sft_recipe())
    parent = Parent("trained", stage, tmp_path, [])
    for step in (None, sft_recipe().training.steps):
        assert trained_directory(context_of(lab), parent, step) == tmp_path


def test_a_snapshot_that_is_there_is_taken(lab: Lab, tmp_path) -> None:
    from workers.training.replay import snapshot_directory

    parent = Parent("trained", lab.stage(SFT, sft_recipe()), tmp_path, [])
    snapshot_directory(tmp_path, 3).mkdir(parents=True)
    assert trained_directory(context_of(lab), parent, 3) == snapshot_directory(tmp_path, 3)


@pytest.mark.parametrize("kind", ["a training that ended before", "no training"])
def test_a_step_that_never_was_is_refused(lab: Lab, tmp_path, kind: str) -> None:
    stage = lab.stage(SFT, sft_recipe()) if kind.startswith("a") else toy(lab)
    with pytest.raises(BadInput, match=rf"\({stage.kind.name}\) has no step 99 to evaluate"):
        trained_directory(context_of(lab), Parent("trained", stage, tmp_path, []), 99)
