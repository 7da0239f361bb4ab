"""What the documentation says is true: its commands parse, its blocks work, its links lead somewhere."""

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import results
from cluster.backend import BACKENDS
from orchestrator.cli.main import app
from orchestrator.errors import GridError
from orchestrator.grid import load_grid
from orchestrator.hub import Hub
from orchestrator.plan import plan_grid
from results.layout import Workspace
from workers.attempts import STALE_SECONDS
from workers.failures import ALIKE_TO_HOLD, BOUNDED

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [README, *PAGES]
GRIDS = [*sorted((ROOT / "grids").glob("*.yaml")), *sorted((ROOT / "docs" / "examples").glob("*.yaml"))]
SOURCES = [
    path
    for folder in ("orchestrator", "cluster", "workers", "results")
    for path in (ROOT / folder).rglob("*.py")
]
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """A page as one line of words."""
    return " ".join(path.read_text().split())


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Every `yates …` command: in indented and fenced lines, in comments of grids, and in backticks."""
    lines = re.findall(r"^(?:    |# +)?\$? ?(?:.*&& )?(yates [^\n`]+)$", text, re.MULTILINE)
    lines = [re.split(r" {2,}|\s+#", line)[0].strip() for line in lines]
    inline = [" ".join(found.split()) for found in re.findall(r"`(yates [^`]+)`", text)]
    return list(dict.fromkeys([*lines, *inline]))


def arguments(command: str) -> list[str]:
    """The words after `yates`; brackets around what may be left out are dropped."""
    return shlex.split(re.sub(r"\[(--?\w[^\]]*)\]", r"\1", command))[1:]


DOCUMENTED = [
    pytest.param(command, id=f"{name(path)}: {command}")
    for path in [*DOCUMENTS, *GRIDS]
    for command in commands(path.read_text())
]


def test_commands_are_found_wherever_they_stand() -> None:
    text = (
        "    yates run a.yaml      # runs it\n\n```bash\npip install . && yates plan b.yaml\n```\n"
        "say `yates why 1/s0`\n    $ yates status --json\n#   yates gc   an answer\nplain yates is not one\n"
    )
    assert commands(text) == [
        "yates run a.yaml",
        "yates plan b.yaml",
        "yates status --json",
        "yates gc",
        "yates why 1/s0",
    ]
    assert len(DOCUMENTED) > 30


@pytest.mark.parametrize("command", DOCUMENTED)
def test_a_documented_command_parses(command: str) -> None:
    """By the real parser, without running it: the verb and its options exist, and nothing is missing."""
    verb, *rest = arguments(command)
    assert verb in VERBS, f"there is no verb {verb!r}"
    found = VERBS[verb]
    if hasattr(found, "commands") and rest:
        verb, *rest = rest
        assert verb in found.commands, f"there is no verb {verb!r}"
        found = found.commands[verb]
    found.make_context(verb, [*rest, *_missing(found, rest)])


def _missing(verb: Any, rest: list[str]) -> list[str]:
    """A mere mention, such as `yates resume --release` or `yates plan`, may leave out what the verb needs."""
    needed = [one for one in verb.params if one.param_type_name == "argument"]
    missing = ["PLACEHOLDER"] if needed and not any(word[0] != "-" for word in rest) else []
    if not any(word[0] == "-" for word in rest):
        options = [one for one in verb.params if one.param_type_name == "option" and one.required]
        missing += [word for one in options for word in (one.opts[0], "PLACEHOLDER")]
    return missing


@pytest.mark.parametrize("command", [one for one in DOCUMENTED if " --on " in one.values[0]])
def test_a_documented_backend_exists(command: str) -> None:
    backend = command.partition(" --on ")[2].split()[0]
    assert backend in BACKENDS


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_an_option_in_backticks_exists(path: Path) -> None:
    verbs = [one for verb in VERBS.values() for one in (verb, *getattr(verb, "commands", {}).values())]
    known = {
        option for verb in verbs for one in verb.params for option in (*one.opts, *one.secondary_opts)
    } | {"--help"}
    mentioned = set(re.findall(r"`(--[a-z-]+)", path.read_text()))
    assert mentioned <= known


def test_every_verb_that_a_message_of_the_code_names_exists() -> None:
    """A message that tells the user to run a verb that does not exist is worse than none."""
    named: dict[str, set[str]] = {}
    for path in SOURCES:
        for verb in re.findall(r"`yates ([a-z]+)", path.read_text()):
            named.setdefault(verb, set()).add(name(path))
    assert {verb: paths for verb, paths in named.items() if verb not in VERBS} == {}


def test_the_table_of_commands_has_every_verb_that_a_user_starts_with() -> None:
    listed = {arguments(command)[0] for command in commands(README.read_text())}
    assert {"plan", "run", "submit", "status", "resume", "cancel", "why", "verify", "gc", "results"} <= listed


@pytest.mark.parametrize(
    "block", [block for block in blocks(ROOT / "docs" / "grids.md", "yaml") if "study:" in block]
)
def test_a_whole_grid_in_the_documentation_plans(block: str, tmp_path) -> None:
    path = tmp_path / "tutorial.yaml"
    path.write_text(block)
    plan = plan_grid(load_grid(path))
    assert len(plan.experiments) == 4
    assert len(plan.stages) == 8
    assert sorted(one.name for one in plan.experiments) == ["large/s0", "large/s1", "small/s0", "small/s1"]
    assert {stage.recipe.model.shape.hidden_size for stage in plan.stages if stage.name == "pretrain"} == {
        32,
        64,
    }


def test_the_tutorial_grid_is_there() -> None:
    assert sum("study:" in block for block in blocks(ROOT / "docs" / "grids.md", "yaml")) == 1


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_yaml_block_is_yaml_and_every_python_block_compiles(path: Path) -> None:
    for block in blocks(path, "yaml"):
        assert isinstance(yaml.safe_load(block), dict)
    for block in blocks(path, "python"):
        compile(block, str(path), "exec")


def test_the_hub_map_of_the_readme_is_one(tmp_path) -> None:
    (block,) = blocks(README, "yaml")
    local = tmp_path / "model"
    local.mkdir()
    (tmp_path / "hub.yaml").write_text(re.sub(r": /\S+", f": {local}", block))
    assert set(Hub.read(tmp_path / "hub.yaml").paths) == set(yaml.safe_load(block))


def test_the_functions_that_the_readme_calls_exist_and_take_a_workspace() -> None:
    called = set(re.findall(r"results\.(\w+)\(\"runs\"\)", README.read_text()))
    assert called == {"load", "metrics", "curves", "samples", "attempts"}
    for function in called:
        inspect.signature(getattr(results, function)).bind("runs")


LINKS = [
    pytest.param(path, link, id=f"{name(path)} -> {link}")
    for path in [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
]


@pytest.mark.parametrize(("path", "link"), LINKS)
def test_a_link_leads_somewhere(path: Path, link: str) -> None:
    assert (path.parent / link).exists()


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(ROOT / link).resolve() for path, link in (one.values for one in LINKS) if path == README}
    assert {page for page in PAGES if page.parent.name == "docs"} <= linked


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_opens_with_the_command_that_runs_what_it_is_about(path: Path) -> None:
    title, blank, command = path.read_text().splitlines()[:3]
    assert title.startswith("# ") and blank == ""
    assert re.match(r"    (cd \S+ && )?(yates ([a-z]+|--help)|python -m pytest) ?", command), command


@pytest.mark.parametrize("path", GRIDS, ids=name)
def test_a_grid_opens_with_the_command_that_runs_it_and_what_it_answers(path: Path) -> None:
    first, blank, answer = path.read_text().splitlines()[:3]
    spoken = name(path) if path.parent.name == "grids" else path.name
    on_ray = f"# yates submit {spoken} --on ray"
    assert first == (on_ray if "\nsearch:" in path.read_text() else f"# yates run {spoken}")
    assert blank == "#" and answer.startswith("# ")


@pytest.mark.parametrize("path", [*DOCUMENTS, *GRIDS], ids=name)
def test_nothing_names_a_path_of_one_machine(path: Path) -> None:
    found = re.findall(r"(?<![\w.~-])/(?:work|root|home|Users|tmp|mnt|scratch|opt|var)/\S*", path.read_text())
    assert found == []


def test_the_mistake_that_the_documentation_shows_reads_like_that(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    shown = re.search(r"^    error: (.*)$", (ROOT / "docs" / "grids.md").read_text(), re.MULTILINE)
    assert shown is not None
    with pytest.raises(GridError) as error:
        load_grid(Path("grids/alignment.yaml"), scale="tny")
    assert str(error.value) == shown[1]


def test_the_limits_that_the_documentation_names_are_those_of_the_code() -> None:
    failures, workspace = prose(ROOT / "docs" / "failures.md"), prose(ROOT / "docs" / "workspace.md")
    assert f"| {NUMBERS[BOUNDED['transient']]} tries, then failed |" in failures
    assert f"again, {NUMBERS[BOUNDED['host_out_of_memory']]} times at most" in failures
    assert f"When {NUMBERS[ALIKE_TO_HOLD]} stages of a kind fail alike" in failures
    assert BOUNDED["hung"] == 2 and "killed, once again" in failures
    assert STALE_SECONDS == 60 and "for a minute of the observer's own clock" in workspace


def test_every_folder_of_a_workspace_is_described() -> None:
    text = (ROOT / "docs" / "workspace.md").read_text()
    layout = Workspace(Path("root"))
    folders = [
        getattr(layout, item).name for item, value in vars(Workspace).items() if isinstance(value, property)
    ]
    assert len(folders) > 8
    assert [folder for folder in folders if f"    {folder}/" not in text and f" {folder}/" not in text] == []
