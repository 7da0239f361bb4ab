"""The page as a file: complete, made the same again, and closed to whatever its texts try."""

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

from results.files import WorkspaceError
from results.layout import Workspace
from results.report import studies
from results.report.page import FOLDER, SCRIPTS, hours, moment
from results.report.writing import write_report
from results.store import compact
from results.studies.rendering import Table
from tests.results.lab import Lab
from tests.results.report.lab import EVIL, LIBRARY, stored
from tests.results.studies.lab import CELLS
from tests.results.studies.lab import study as alignment


def written(path: Path, *workspaces: Workspace, **options: object) -> str:
    size = write_report(list(workspaces), path, library=lambda: LIBRARY, **options)  # type: ignore[arg-type]
    assert size == path.stat().st_size
    return path.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Elements with their attributes, texts, and the contents of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        self.text += data


@pytest.fixture(scope="module")
def evil(tmp_path_factory) -> Workspace:
    return stored(tmp_path_factory.mktemp("evil") / "runs", EVIL)


@pytest.fixture(scope="module")
def page(evil, tmp_path_factory) -> str:
    return written(tmp_path_factory.mktemp("page") / "report.html", evil)


def test_what_users_and_models_wrote_is_text_and_never_markup(page: str) -> None:
    elements = Elements(page)
    assert EVIL not in page
    assert [tag for tag, _ in elements.found if tag == "img"] == []
    assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)
    assert EVIL.replace("\u2028", "").split("\u202e")[0][:40] in elements.text  # the grid's name, as text
    executable = [one for tag, one in elements.found if tag == "script" and not one.get("type")]
    assert len(executable) == 1


def test_no_script_runs_but_the_page_s_own_and_nothing_is_fetched(page: str) -> None:
    elements = Elements(page)
    (policy,) = [one["content"] for tag, one in elements.found if one.get("http-equiv")]
    assert policy is not None
    assert "default-src 'none'" in policy and "connect-src" not in policy
    own = elements.scripts[-1]
    for script in (own, LIBRARY):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert not [one for _, one in elements.found if one.get("src") or (one.get("href") or "#")[0] != "#"]


def test_the_index_tells_what_there_is(page: str) -> None:
    index = json.loads(Elements(page).scripts[0])
    (group,) = index["groups"]
    assert (group["title"], group["count"], group["details"]["held"]) == ("toy", 12, 12)
    assert [one["name"] for one in group["factors"]] == ["model", "method", "seed", "note"]
    assert group["factors"][0]["levels"] == ["small", "large"]
    assert [one["name"] for one in group["metrics"]] == ["quiz", "sft", "quiz.length"]
    assert index["quantiles"][:2] == pytest.approx([12.7062, 4.30265], rel=1e-4)
    assert index["quantiles"][-1] == pytest.approx(1.95996, rel=1e-5)


def test_completeness_failures_and_cost_stand_in_the_page_itself(page: str) -> None:
    text = " ".join(Elements(page).text.split())
    assert "10 of 12 have their result" in text
    assert "10 done 1 pending 1 failed" in text
    assert "2 stages were computed once for several experiments" in text


def test_equal_workspaces_give_equal_bytes(evil, page: str, tmp_path) -> None:
    assert written(tmp_path / "again.html", evil) == page


def test_several_workspaces_are_told_apart(evil, tmp_path) -> None:
    other = stored(tmp_path / "others")
    index = json.loads(Elements(written(tmp_path / "report.html", evil, other)).scripts[0])
    assert [(one["title"], one["workspace"]) for one in index["groups"]] == [
        ("toy", "runs"),
        ("toy", "others"),
    ]
    (tmp_path / "deeper").mkdir()
    twin = stored(tmp_path / "deeper" / "runs")
    index = json.loads(Elements(written(tmp_path / "report.html", evil, twin)).scripts[0])
    assert [one["workspace"] for one in index["groups"]] == [str(evil.root), str(twin.root)]


def test_details_make_way_where_the_limit_is_low(evil, tmp_path) -> None:
    index = json.loads(Elements(written(tmp_path / "report.html", evil, limit=1.2)).scripts[0])
    assert index["groups"][0]["details"]["held"] == 0


def test_a_study_that_yates_knows_has_its_tables_figures_and_findings(tmp_path) -> None:
    pair = [cell for cell in CELLS if cell.model.startswith("mistral") and cell.dataset != "hh-rlhf"]
    lab = alignment(tmp_path / "runs", cells=pair, seeds=(0, 1))
    compact(lab.workspace)
    page = written(tmp_path / "report.html", lab.workspace)
    text = " ".join(Elements(page).text.split())
    assert "T3: merges of harmless- and helpful-aligned models" in text
    assert re.search(r"\d\.\d{3} ±\d\.\d{3} \(2\) \[0\.415\]", text)
    assert 'data-figure="figure-0-F4"' in page
    assert "published figures:" in text
    assert re.search(r"holds: \d+", text)


def test_a_table_that_cannot_be_made_costs_itself_only(evil, tmp_path, monkeypatch) -> None:
    """A study of a known name whose experiments are something else entirely."""

    class Module:
        TABLES, FIGURES = ("T1", "T2"), ()

        @staticmethod
        def table(name, *_):
            if name == "T1":
                raise KeyError("model")
            return Table(EVIL, ["a"], [[EVIL]])

        @staticmethod
        def findings(*_):
            raise WorkspaceError("no figures")

    monkeypatch.setattr(studies, "STUDIES", {"toy": "toy_study"})
    monkeypatch.setitem(sys.modules, "toy_study", Module)
    page = written(tmp_path / "report.html", evil)
    assert EVIL not in page
    text = " ".join(Elements(page).text.split())
    assert "Left out: 2 T1: these experiments lack what it shows (KeyError('model'))" in text
    assert "findings: no figures" in text


def test_an_empty_workspace_is_a_mistake_with_one_message(tmp_path) -> None:
    with pytest.raises(WorkspaceError, match="holds no experiments yet"):
        written(tmp_path / "report.html", Lab.at(tmp_path / "runs").workspace)


def test_a_file_that_cannot_be_written_is_a_mistake_with_one_message(evil, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match=r"report\.html: cannot be written"):
        written(tmp_path / "file" / "report.html", evil)


def test_the_page_s_scripts_never_read_a_string_as_markup_or_code() -> None:
    source = "".join((FOLDER / "static" / f"{name}.js").read_text() for name in SCRIPTS)
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|fetch\(|XMLHttpRequest"
    )
    assert re.findall(forbidden, source) == []
    assert {path.stem for path in (FOLDER / "static").glob("*.js")} == set(SCRIPTS)


def test_an_installed_package_carries_templates_scripts_and_styles() -> None:
    import tomllib

    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["results"]
    held = [path for folder in ("static", "templates") for path in (FOLDER / folder).iterdir()]
    assert {f"**/*{path.suffix}" for path in held} <= set(patterns)
    assert resources.files("results.report").joinpath("templates/report.jinja").is_file()


@pytest.mark.parametrize(
    ("value", "text"), [(0.001, "4 s"), (0.5, "30 min"), (3.44, "3.4 h"), (1234.5, "1,234 h")]
)
def test_hours_as_a_person_reads_them(value: float, text: str) -> None:
    assert hours(value) == text


def test_moments_are_utc() -> None:
    assert moment(0.0) == "1970-01-01 00:00 UTC" and moment(None) == "–"
