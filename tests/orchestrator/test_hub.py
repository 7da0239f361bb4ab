"""Hub ids and paths resolve to what lies behind them, so that other content can never pass for it."""

from pathlib import Path

import pytest

from orchestrator.errors import GridError
from orchestrator.grid import load_grid
from orchestrator.hub import Hub
from orchestrator.plan import Plan, plan_grid
from tests.orchestrator.grids import replaced, write
from workers.contents import content_digest
from workers.specs.data import DataSource
from workers.specs.evaluate import EvaluateRecipe
from workers.specs.model import ModelRecipe
from workers.world import WorldRecipe, world_digest


def model_at(directory: Path, weights: str = "weights") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_text(weights)
    return directory


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_directory_without_its_files_is_a_mistake_of_the_grid(tmp_path: Path) -> None:
    source = DataSource(hub=str(model_at(tmp_path / "model")), files=("nothing.*",))
    recipe = EvaluateRecipe.model_validate({"benchmarks": [{"task": "a", "source": source}]})
    with pytest.raises(GridError, match=r"holds no file that matches nothing\.\*"):
        Hub().resolve(recipe)


def test_mapped_and_local_models_get_digests(tmp_path: Path) -> None:
    directory = model_at(tmp_path / "model")
    hub = Hub({"owner/model": str(directory)})
    for name in ("owner/model", str(directory)):
        resolved = hub.resolve(EvaluateRecipe(model=ModelRecipe(hub=name)))
        assert resolved.model.digest == content_digest(directory)
        assert resolved.model.hub == name
    assert not hub.unresolved


def test_sources_are_resolved_wherever_they_occur(tmp_path: Path) -> None:
    data = model_at(tmp_path / "data")
    source = {"hub": "owner/data"}
    recipe = EvaluateRecipe.model_validate(
        {
            "benchmarks": [
                {"task": "a", "source": source, "preferences": [{"source": source}, {}]},
                {"task": "b"},
            ]
        }
    )
    resolved = Hub({"owner/data": str(data)}).resolve(recipe)
    assert resolved.benchmarks[0].source.digest == content_digest(data)
    assert resolved.benchmarks[0].preferences[0].source.digest == content_digest(data)
    assert resolved.benchmarks[1] is recipe.benchmarks[1]


def test_a_recipe_without_sources_stays_itself() -> None:
    recipe = EvaluateRecipe()
    assert Hub().resolve(recipe) is recipe


def test_a_world_gets_its_digest() -> None:
    world = WorldRecipe(seed=5)
    recipe = EvaluateRecipe.model_validate({"benchmarks": [{"task": "a", "source": {"world": {"seed": 5}}}]})
    assert Hub().resolve(recipe).benchmarks[0].source == DataSource(world=world, digest=world_digest(world))


def test_a_digest_that_is_given_is_believed() -> None:
    recipe = EvaluateRecipe(model=ModelRecipe(hub="nobody/knows", digest="abc"))
    hub = Hub()
    assert hub.resolve(recipe) is recipe
    assert not hub.unresolved


def test_what_is_nowhere_is_named() -> None:
    hub = Hub()
    recipe = EvaluateRecipe(model=ModelRecipe(hub="nobody/knows"))
    assert hub.resolve(recipe) is recipe
    assert hub.unresolved == {"nobody/knows"}


def test_the_hub_s_own_cache_gives_the_revision(empty_cache: Path) -> None:
    directory = empty_cache / "models--owner--model"
    (directory / "refs").mkdir(parents=True)
    (directory / "refs" / "main").write_text("c0ffee\n")
    (directory / "snapshots" / "facade").mkdir(parents=True)
    (directory / "snapshots" / "c0ffee").mkdir()
    hub = Hub()
    moved = hub.resolve(EvaluateRecipe(model=ModelRecipe(hub="owner/model"))).model
    pinned = hub.resolve(EvaluateRecipe(model=ModelRecipe(hub="owner/model", revision="facade"))).model
    assert (moved.revision, moved.digest) == ("c0ffee", "revision:c0ffee")
    assert (pinned.revision, pinned.digest) == ("facade", "revision:facade")


def test_a_name_in_the_cache_without_its_files_is_nowhere(empty_cache: Path) -> None:
    directory = empty_cache / "models--owner--model"
    (directory / "refs").mkdir(parents=True)
    (directory / "refs" / "main").write_text("c0ffee")
    hub = Hub()
    assert hub.resolve(EvaluateRecipe(model=ModelRecipe(hub="owner/model"))).model.digest is None
    assert hub.unresolved == {"owner/model"}


def test_a_revision_says_nothing_of_mapped_files(tmp_path: Path) -> None:
    directory = model_at(tmp_path / "model")
    hub = Hub({"owner/model": str(directory)})
    pinned = hub.resolve(EvaluateRecipe(model=ModelRecipe(hub="owner/model", revision="facade")))
    assert pinned == hub.resolve(EvaluateRecipe(model=ModelRecipe(hub="owner/model")))


def planned(directory: Path, hub_map: Path | None = None) -> Plan:
    text = replaced('model: {shape: {layers: "${model.layers}"}}', "model: {shape: {}}")
    text = replaced(
        "      preferences: {samples: 64}\n", "      preferences: {source: {hub: owner/data}}\n", text
    )
    return plan_grid(load_grid(write(directory, text)), hub_map)


def test_ids_follow_the_content_behind_a_map(tmp_path: Path) -> None:
    data = model_at(tmp_path / "data")
    model_at(tmp_path / "copy")
    hub_map = write(tmp_path, "owner/data: data\n", "hub.yaml")
    other_map = write(tmp_path, f"owner/data: {tmp_path / 'copy'}\n", "other.yaml")
    first = planned(tmp_path, hub_map)
    assert planned(tmp_path, other_map).stages[1].id == first.stages[1].id
    (data / "model.safetensors").write_text("heights")
    changed = planned(tmp_path, hub_map)
    assert changed.stages[0].id == first.stages[0].id
    assert changed.stages[1].id != first.stages[1].id
    assert changed.hub_map == {"owner/data": str(data)}


def test_a_plan_names_what_is_nowhere(tmp_path: Path) -> None:
    assert planned(tmp_path).unresolved == ("owner/data",)


def test_mistakes_in_a_map(tmp_path: Path) -> None:
    path = write(tmp_path, "a/b: ./nowhere\nc: [1]\n", "hub.yaml")
    with pytest.raises(GridError) as caught:
        Hub.read(path)
    assert str(caught.value) == (
        f"{path}:1: 'a/b' is mapped to './nowhere', which does not exist\n"
        f"{path}:2: a hub map must map hub ids to local paths, both words"
    )
