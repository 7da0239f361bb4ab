"""Where a need lies, and whether what lies there is whole."""

import json
from pathlib import Path

import pytest

from orchestrator.data.needs import Identity, Need
from orchestrator.data.places import find, matching, model_problem

WHOLE = {"config.json": "{}", "model.safetensors": "w", "tokenizer.json": "{}"}
INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})


def directory(path: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return path


def model(hub: str, revision: str | None = None) -> Need:
    return Need(Identity("model", hub, revision), files={"*.safetensors", "*.json"})


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (WHOLE, ""),
        ({"model.safetensors": "w"}, "holds no config.json"),
        (
            {**WHOLE, "model.safetensors.index.json": INDEX, "model-1.safetensors": "w"},
            "lacks 1 of 2 weight files",
        ),
        ({"config.json": "{}", "pytorch_model.bin": "w", "tokenizer.json": "{}"}, "holds no safetensors"),
        ({"config.json": "{}", "model.safetensors": "w"}, "holds no tokenizer"),
        ({**WHOLE, "model.safetensors.index.json": "not json"}, ""),
    ],
)
def test_what_a_model_lacks(tmp_path: Path, files, problem: str) -> None:
    assert model_problem(directory(tmp_path, files)).startswith(problem)
    assert bool(model_problem(tmp_path)) == bool(problem)


@pytest.mark.parametrize("name", ["max_position_embeddings", "n_positions"])
def test_rows_longer_than_a_model_reads_are_a_problem(tmp_path: Path, name: str) -> None:
    directory(tmp_path, {**WHOLE, "config.json": json.dumps({name: 512})})
    assert model_problem(tmp_path, 512) == ""
    assert model_problem(tmp_path, 1536).startswith("reads at most 512 tokens, but a stage may give it 1,536")


def test_the_map_goes_before_local_paths_and_the_cache(tmp_path: Path, empty_cache: Path) -> None:
    here = directory(tmp_path / "here", WHOLE)
    cached = directory(empty_cache / "models--org--name" / "snapshots" / "abc", WHOLE)
    directory(empty_cache / "models--org--name", {"refs/main": "abc"})
    assert find(model("org/name"), {"org/name": str(here)}).path == here
    assert find(model(str(here)), {}).where == "local path"
    found = find(model("org/name"), {})
    assert (found.where, found.path, found.size) == ("hub cache", cached, 5)
    assert find(model("org/name", "abc"), {}).path == cached


def test_what_is_nowhere_can_be_fetched_and_what_is_mapped_wrongly_says_so(tmp_path: Path) -> None:
    nowhere = find(model("org/name"), {})
    assert nowhere.where == "missing" and nowhere.fetchable
    wrong = find(model("org/name"), {"org/name": str(tmp_path / "gone")})
    assert "is mapped to" in wrong.problem


def test_a_part_of_a_repository_in_the_cache_can_be_fetched(empty_cache: Path) -> None:
    directory(empty_cache / "models--org--name", {"refs/main": "abc", "snapshots/abc/config.json": "{}"})
    part = find(model("org/name"), {})
    assert part.where == "hub cache" and part.fetchable
    assert part.problem.startswith("holds no safetensors")


def test_a_data_set_in_the_cache_without_the_files_that_are_read_is_a_problem(empty_cache: Path) -> None:
    directory(empty_cache / "datasets--org--name", {"refs/main": "abc", "snapshots/abc/other.csv": "x"})
    need = Need(Identity("dataset", "org/name"), files={"round0/*.jsonl.xz"})
    found = find(need, {})
    assert found.problem == "has none of the files round0/*.jsonl.xz" and found.fetchable


def test_a_mirror_may_have_a_layout_of_its_own(tmp_path: Path) -> None:
    need = Need(Identity("dataset", str(tmp_path)), files={"round0/*.jsonl.xz"})
    assert find(need, {}).problem == "holds no file"
    directory(tmp_path, {"other.csv": "x"})
    assert (find(need, {}).problem, find(need, {}).size) == ("", 1)


def test_hidden_files_and_other_formats_of_weights_do_not_count(tmp_path: Path) -> None:
    directory(tmp_path, {".git/x": "x", "a.jsonl": "y", "deep/b.jsonl": "z", "w.bin": "w"})
    assert [path.name for path in matching(tmp_path, [])] == ["a.jsonl", "b.jsonl"]
    assert [path.name for path in matching(tmp_path, ["deep/*.jsonl"])] == ["b.jsonl"]
