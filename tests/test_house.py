"""The rules of the house, read from the source: imports go down, functions and files stay short, all is typed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("results", "workers", "cluster", "orchestrator")
LONGEST_FUNCTION = 60
LONGEST_FILE = 400
MODULES = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and first package of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").partition(".")[0]


def climbing(path: str, source: str) -> list[str]:
    """The imports of a module that go to a folder above its own, or to the tests."""
    above = (*FLOORS[FLOORS.index(path.partition("/")[0]) + 1 :], "tests", "grids")
    return [f"{path}:{line} imports {name}" for line, name in imported(ast.parse(source)) if name in above]


def sources(floor: str) -> Iterator[tuple[str, str]]:
    """Name and text of every module of one folder."""
    for name, path in zip(NAMES, MODULES, strict=True):
        if name.startswith(f"{floor}/"):
            yield name, path.read_text()


def functions(source: str) -> list[Function]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]


def untyped(function: Function) -> list[str]:
    """The parameters without a type, `self` and `cls` apart, and `return` when the result has none."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
    missing = [one.arg for one in named if one.annotation is None and one.arg not in ("self", "cls")]
    needs_result = function.returns is None and function.name != "__init__"
    return [*missing, *(["return"] if needs_result else [])]


def length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_there_is_a_house_to_look_at() -> None:
    assert {name.partition("/")[0] for name in NAMES} == set(FLOORS)
    assert len(MODULES) > 100


@pytest.mark.parametrize("floor", FLOORS)
def test_no_import_climbs(floor: str) -> None:
    assert [line for name, source in sources(floor) for line in climbing(name, source)] == []


@pytest.mark.parametrize("floor", FLOORS)
def test_files_and_functions_are_short(floor: str) -> None:
    found = list(sources(floor))
    assert [name for name, source in found if len(source.splitlines()) > LONGEST_FILE] == []
    parts = [(name, one) for name, source in found for one in functions(source)]
    assert [f"{name}:{one.lineno} {one.name}" for name, one in parts if length(one) > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("floor", FLOORS)
def test_every_function_is_typed(floor: str) -> None:
    parts = [(name, one) for name, source in sources(floor) for one in functions(source)]
    assert [f"{name}:{one.lineno} {one.name} {untyped(one)}" for name, one in parts if untyped(one)] == []


@pytest.mark.parametrize("floor", FLOORS)
def test_every_module_says_what_it_is(floor: str) -> None:
    assert [name for name, source in sources(floor) if not ast.get_docstring(ast.parse(source))] == []


def test_most_functions_are_very_short() -> None:
    lengths = sorted(length(one) for path in MODULES for one in functions(path.read_text()))
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[len(lengths) * 9 // 10] <= 30


def test_grids_hold_no_code() -> None:
    assert [path.name for path in (ROOT / "grids").rglob("*.py")] == ["__init__.py"]
    assert functions((ROOT / "grids" / "__init__.py").read_text()) == []


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("results/a.py", "import workers.stage", 1),
        ("results/a.py", "def f():\n    from cluster.local import LocalBackend", 1),
        ("workers/a.py", "if TYPE_CHECKING:\n    from orchestrator import plan", 1),
        ("workers/a.py", "from tests.support import toys", 1),
        ("cluster/a.py", "from workers.stage import Stage\nimport results", 0),
        ("orchestrator/a.py", "import cluster, workers, results, orchestrator", 0),
        ("results/a.py", "import workersome", 0),
    ],
)
def test_the_look_at_imports_sees_what_it_should(path: str, source: str, found: int) -> None:
    assert len(climbing(path, source)) == found


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("def f(a, b: int): ...", ["a", "return"]),
        ("def f(*args, **kwargs) -> None: ...", ["args", "kwargs"]),
        ("class C:\n    def f(self, *, key) -> int: ...", ["key"]),
        ("class C:\n    def __init__(self, a: int): ...", []),
        ("async def f(a: int) -> int: ...", []),
    ],
)
def test_the_look_at_types_sees_what_it_should(source: str, missing: list[str]) -> None:
    assert untyped(functions(source)[0]) == missing
