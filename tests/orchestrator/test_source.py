"""YAML with places: values as safe_load gives them, numbers as YAML 1.2 does, a line for every key."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.source import parse_value, read_document
from tests.orchestrator.grids import SMALL, write


def test_values_are_those_of_safe_load_but_for_numbers(tmp_path: Path) -> None:
    document = read_document(write(tmp_path, SMALL))
    expected = yaml.safe_load(SMALL)
    expected["levels"]["method"]["sft"]["rate"] = 1e-3
    expected["rates"]["dpo"] = 5e-4
    assert document.values == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("-2E5", -2e5), ("1.5e3", 1500.0), ("+1e0", 1.0), ("1_000e1", 10000.0), ("e5", "e5")],
)
def test_numbers_with_an_exponent(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_places_are_lines_of_keys(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    document = read_document(path)
    lines = SMALL.splitlines()
    assert document.place(("rates", "dpo")) == f"{path}:{lines.index('rates: {dpo: 5e-4}') + 1}"
    assert document.place(("pipeline", "train", "kind")) == f"{path}:{lines.index('    kind: sft') + 1}"
    assert document.place(("factors", "model", 1)) == f"{path}:4"


def test_a_value_that_was_not_written_lies_at_its_ancestor(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    document = read_document(path)
    assert document.place(("rates", "sft", "deep")) == f"{path}:14"
    assert document.place(("nothing",)) == f"{path}:1"


def test_numbers_are_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "a:\n  1: x\n  '1': y\n  2e-1: z\n")
    document = read_document(path)
    assert document.values == {"a": {1: "x", "1": "y", 0.2: "z"}}
    assert document.place(("a", "1")) == f"{path}:3"


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n")
    assert read_document(path).values["b"] == {"x": 1, "y": 3}
    assert read_document(path).values["c"] == {"x": 1, "y": 2}


def test_get_gives_the_default_where_there_is_nothing(tmp_path: Path) -> None:
    document = read_document(write(tmp_path, "a: [1, {b: 2}]\n"))
    assert document.get(("a", 1, "b")) == 2
    assert document.get(("a", 5), "none") == "none"
    assert document.get(("a", 0, "b"), "none") == "none"


@given(
    st.recursive(
        st.integers() | st.booleans(), lambda inner: st.dictionaries(st.text("abc", min_size=1), inner)
    )
)
def test_every_value_has_a_place(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = write(tmp_path_factory.mktemp("source"), yaml.safe_dump({"top": value}))
    document = read_document(path)
    assert document.values == {"top": value}
    assert all(document.get(known, default := object()) is not default for known in document.places)
