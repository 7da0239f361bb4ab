"""The documentation as a site: it builds without a warning, misses no page, fetches nothing from elsewhere."""

import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import yaml

from workers.specs.dpo import DpoRecipe
from workers.specs.training import Training

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def words(page: Path) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.read_text())).split())


def test_every_page_has_its_place_in_the_navigation() -> None:
    def pages(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for one in (entry.values() if isinstance(entry, dict) else entry) for page in pages(one)]

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_the_reference_has_every_setting_of_a_recipe(site: Path) -> None:
    text = words(site / "reference" / "recipes" / "index.html")
    for recipe in (DpoRecipe, Training):
        assert f"{recipe.__name__} pydantic-model" in text
        assert all(f"{field} ( " in text for field in recipe.model_fields), recipe
    assert "beta = 0.1" in text


def test_the_reference_has_every_recipe(site: Path) -> None:
    text = words(site / "reference" / "recipes" / "index.html")
    missing = [
        path.name
        for path in (ROOT / "workers" / "specs").glob("*.py")
        for name in re.findall(r"^class (\w+Recipe)\b", path.read_text(), re.MULTILINE)
        if f"{name} pydantic-model" not in text
    ]
    assert missing == []


def test_the_reference_has_every_function_of_results(site: Path) -> None:
    import results

    text = words(site / "reference" / "results" / "index.html")
    assert all(name in text for name in results.__all__ if name.islower())


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r"<(?:script|link|img)\b[^>]*(?:src|href)=\"(https?://[^\"]+)", page.read_text())
        assert fetched == [], page
