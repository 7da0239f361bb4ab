"""Kinds: found by name, by entry point or by `module:object`; mistakes are named."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.files import WorkspaceError
from tests.support import toys
from workers.kinds import BUILT_IN, Kind, find_kind, load_object, unknown
from workers.recipe import Recipe

ROOT = Path(__file__).parents[2]
TOY = "tests.support.toys:TOY"


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_kind_is_what_its_name_says(name: str) -> None:
    kind = find_kind(name)
    assert (kind.name, kind.reference) == (name, name)
    assert kind.version >= 1
    assert issubclass(kind.recipe, Recipe)
    kind.recipe()


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_kind_has_its_runner_where_it_says(name: str) -> None:
    module, _, function = find_kind(name).runner.partition(":")
    source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
    assert f"\ndef {function}(" in source


def test_looking_kinds_up_imports_nothing_heavy() -> None:
    code = (
        "import sys; from workers.kinds import BUILT_IN, find_kind; [find_kind(name) for name in BUILT_IN]; "
        "print({'torch', 'transformers', 'trl', 'peft', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_a_users_own_kind_keeps_the_reference_it_was_found_by() -> None:
    kind = find_kind(TOY)
    assert (kind.name, kind.reference) == ("toy", TOY)
    assert kind.load_runner() is toys.run
    assert find_kind("workers.specs.sft:SFT").reference == "workers.specs.sft:SFT"


def test_a_kind_of_an_installed_package_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    information = tmp_path / "lab_kinds-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-kinds\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[yates.kinds]\ndistil = lab_kinds_module:DISTIL\n")
    (tmp_path / "lab_kinds_module.py").write_text(
        "from workers.kinds import Kind\nfrom workers.recipe import Recipe\n"
        "DISTIL = Kind('distil', 3, Recipe, 'lab_kinds_module:run')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    find_kind.cache_clear()
    assert find_kind("distil").version == 3
    with pytest.raises(WorkspaceError, match=r"did you mean 'distil'\? Allowed: .*distil"):
        find_kind("distill")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "evalute",
            r"unknown stage kind 'evalute'; did you mean 'evaluate'\? Allowed: analyze, dpo, evaluate, ",
        ),
        ("zzz", "unknown stage kind 'zzz'; allowed: analyze, dpo, evaluate, "),
        ("no_such_module:KIND", "no module named 'no_such_module' is installed"),
        ("tests.support.toys:TOYS", "module 'tests.support.toys' has no object 'TOYS'"),
        ("tests.support.toys:run", "is a function; a stage kind must be a workers.kinds.Kind"),
    ],
)
def test_a_kind_that_does_not_exist_is_one_clear_sentence(name: str, said: str) -> None:
    with pytest.raises(WorkspaceError, match=said) as caught:
        find_kind(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [":KIND", ".specs.sft:SFT"])
def test_a_reference_without_a_module_is_one_clear_sentence(name: str) -> None:
    with pytest.raises(WorkspaceError, match=r"KIND|SFT"):
        find_kind(name)


def test_a_missing_library_of_a_users_module_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_something.py").write_text("import a_library_nobody_has\nKIND = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WorkspaceError, match="no module named 'a_library_nobody_has' is installed"):
        load_object("needs_something:KIND")


def test_a_kind_stands_under_its_own_name_unless_told_otherwise() -> None:
    assert Kind("own", 1, Recipe, "m:run").reference == "own"
    assert Kind("own", 1, Recipe, "m:run", reference="m:KIND").reference == "m:KIND"


@given(
    st.text(min_size=1, max_size=10),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, unique=True),
)
def test_a_sentence_on_an_unknown_name_lists_every_known_one(name: str, known: list[str]) -> None:
    said = unknown("level", name, known)
    assert repr(name) in said
    assert said.endswith(", ".join(sorted(known)))
