"""YAML files of settings: what is wrong is said with its place."""

import pytest

from results.files import WorkspaceError
from results.studies.settings import Settings, read_settings


class Sample(Settings):
    name: str
    count: int = 1


def read(tmp_path, text: str | bytes):
    path = tmp_path / "settings.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_settings(path, dict[str, Sample])


def test_settings_are_read_as_their_type(tmp_path) -> None:
    assert read(tmp_path, "a: {name: x, count: 3}\nb: {name: y}") == {
        "a": Sample(name="x", count=3),
        "b": Sample(name="y"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {name: x, cuont: 3}", "settings.yaml: a.cuont: Extra inputs are not permitted"),
        ("a: {count: 3}", "settings.yaml: a.name: Field required"),
        ("a: {name: x, count: many}", "settings.yaml: a.count: Input should be a valid integer"),
        ("- a", "settings.yaml: the file: Input should be a valid dictionary"),
        ("", "settings.yaml: the file: Input should be a valid dictionary"),
        ("a: [", "settings.yaml: not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "settings.yaml: not YAML"),
        (b"a: {name: \xff}", "settings.yaml: cannot be read (not UTF-8)"),
    ],
)
def test_a_mistake_says_where_it_is(tmp_path, text, message: str) -> None:
    with pytest.raises(WorkspaceError) as error:
        read(tmp_path, text)
    assert message in str(error.value)


def test_every_mistake_has_its_line(tmp_path) -> None:
    with pytest.raises(WorkspaceError) as error:
        read(tmp_path, "a: {count: x}\nb: 3")
    assert len(str(error.value).splitlines()) == 3


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(WorkspaceError, match=r"none\.yaml: cannot be read \(No such file"):
        read_settings(tmp_path / "none.yaml", Sample)
