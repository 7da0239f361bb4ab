"""Digests of models and data, and that a worker refuses files which the plan did not see."""

import os
from pathlib import Path

import pytest

from workers import contents as module
from workers.contents import NoFiles, check_content, content_digest
from workers.context import BadInput
from workers.specs.data import DataSource
from workers.specs.model import ModelRecipe


def model_at(directory: Path, weights: str = "weights") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_text(weights)
    return directory


def test_a_digest_is_of_names_sizes_and_contents_and_not_of_the_place(tmp_path: Path) -> None:
    one, two = model_at(tmp_path / "one"), model_at(tmp_path / "elsewhere" / "two")
    assert content_digest(one) == content_digest(two)
    (two / "model.safetensors").write_text("heights")
    assert content_digest(one) != content_digest(two)
    (one / "config.json").rename(one / "other.json")
    assert content_digest(one) != content_digest(model_at(tmp_path / "three"))


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    directory = model_at(tmp_path / "model")
    before = content_digest(directory)
    (directory / ".git").mkdir()
    (directory / ".git" / "HEAD").write_text("x")
    (directory / ".lock").write_text("x")
    assert content_digest(directory) == before


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_at(tmp_path / "model") / "model.safetensors"
    first = content_digest(path)
    monkeypatch.setattr(module, "file_digest", None)
    assert content_digest(path) == first
    monkeypatch.undo()
    os.utime(path, ns=(1, 1))
    assert content_digest(path) == first
    path.write_text("heights")
    assert content_digest(path) != first


def test_named_files_alone_count(tmp_path: Path) -> None:
    directory = model_at(tmp_path / "model")
    only = content_digest(directory, ("config.json",))
    (directory / "model.safetensors").write_text("heights")
    assert content_digest(directory, ("config.json",)) == only
    assert content_digest(directory, ("{split}.*", "config.json")) != only
    with pytest.raises(NoFiles, match=r"holds no file that matches nothing\.\*"):
        content_digest(directory, ("nothing.*",))


def test_what_the_plan_saw_is_taken_and_anything_else_refused(tmp_path: Path) -> None:
    directory = model_at(tmp_path / "model")
    planned = ModelRecipe(hub="owner/model", digest=content_digest(directory))
    check_content(planned, directory)
    check_content(planned, model_at(tmp_path / "copy"))
    (directory / "model.safetensors").write_text("heights")
    with pytest.raises(BadInput, match=r"owner/model: what lies in .*model is not what the plan saw"):
        check_content(planned, directory)
    with pytest.raises(BadInput, match=r"cannot be compared with the plan: holds no file"):
        check_content(planned, tmp_path / "gone")


def test_of_data_the_named_files_count(tmp_path: Path) -> None:
    directory = model_at(tmp_path / "data")
    files = ("config.json",)
    planned = DataSource(hub="owner/data", files=files, digest=content_digest(directory, files))
    (directory / "model.safetensors").write_text("heights")
    check_content(planned, directory)
    (directory / "config.json").write_text("[]")
    with pytest.raises(BadInput, match="plan again"):
        check_content(planned, directory)


@pytest.mark.parametrize("digest", [None, "revision:0123456789abcdef", "of my own"])
def test_a_commit_and_a_digest_of_another_form_are_believed(tmp_path: Path, digest: str | None) -> None:
    check_content(ModelRecipe(hub="owner/model", digest=digest), model_at(tmp_path / "model"))
