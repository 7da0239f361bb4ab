"""The page in a browser: every view renders, filters and links work, nothing it shows can run or be fetched.

Needs Chromium (`chromium` or `chromium-headless-shell` on the path, or YATES_CHROMIUM) and the package playwright;
skipped where they are missing.
"""

import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.selection import chooser
from results.report.page import FOLDER, _quantiles
from results.report.writing import write_report
from results.statistics import Interval, combined_interval, mean_interval
from results.studies.drawing import Figure, Point
from results.studies.rendering import Table
from tests.results.report.lab import EVIL, stored

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = os.environ.get("YATES_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
VIEWS = ("overview", "studies", "findings", "explore", "experiments", "cost")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")


class Study:
    """A study with a table, a figure of each kind that the page draws, and a finding; its texts are hostile."""

    TABLES, FIGURES = ("T1",), ("F1", "F2")

    @staticmethod
    def table(*_: object) -> Table:
        return Table(EVIL, ["a", EVIL], [["b", EVIL]])

    @staticmethod
    def figure(name: str, *_: object) -> Figure:
        near = Interval(0.5, 0.4, 0.6, 5)
        if name == "F1":
            points = [Point(EVIL, one, "row", near, 0.45) for one in ("x", EVIL)]
            return Figure("rows", "rows", [EVIL], ["x", EVIL], points, ["row"])
        points = [Point("p", EVIL, step, near, style=style) for step in (1, 2, 3) for style in ("", EVIL)]
        points.append(Point("alone", EVIL, 1, near, 0.3))
        return Figure("curves", "curves", ["p", "alone"], [EVIL], points, across="step")

    @staticmethod
    def findings(*_: object) -> tuple[None, str]:
        test = '{"part": "", "benchmark": "b", "comparison": "c", "claim": "> 0", "mean": 0.1, "verdict": "holds"}'
        return None, f'[{{"finding": "F1", "statement": "s", "verdict": "holds", "tests": [{test}]}}]'


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    from results.report import studies

    folder = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "STUDIES", {"toy": "toy_study"})
        patch.setitem(sys.modules, "toy_study", Study)
        write_report([stored(folder / "runs", EVIL), stored(folder / "plain")], folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Reader:
    """Someone who reads the report; whatever the page should not do is noted in `wrong`."""

    def __init__(self, browser: Any, report: Path, **options: Any) -> None:
        self.page = browser.new_page(**{"viewport": {"width": 1200, "height": 900}, **options})
        self.page.set_default_timeout(60_000)
        self.wrong: list[str] = []
        self.page.on("console", lambda one: one.type == "log" or self.wrong.append(f"{one.type}: {one.text}"))
        self.page.on("pageerror", lambda one: self.wrong.append(str(one)))
        self.page.on("dialog", lambda one: (self.wrong.append("a dialog"), one.dismiss()))
        self.page.on("request", lambda one: self._requested(one.url))
        self.page.goto(report.as_uri())
        self.address = report.as_uri()

    def _requested(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")) or (
            url.startswith("file:") and "report.html" not in url
        ):
            self.wrong.append(f"asked for {url}")

    def go(self, view: str) -> None:
        """Open a view and wait until it stands."""
        self.page.evaluate(
            "view => { delete document.documentElement.dataset.ready; location.hash = view; }", view
        )
        self.until("document.documentElement.dataset.ready !== undefined")

    def until(self, condition: str) -> None:
        """Wait until a condition holds; the browser's own waiting would evaluate it, which the page forbids."""
        end = time.monotonic() + 60
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"never: {condition}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        return " ".join(self.page.locator(selector).first.inner_text().split())

    def drawn(self, selector: str) -> None:
        self.page.locator(f"{selector}[data-drawn]").first.wait_for()

    def summary(self, wanted: str) -> None:
        """Wait until the line above the chart or the list says so."""
        self.page.locator("[data-view]:not([hidden]) .summary", has_text=wanted).wait_for()


@pytest.fixture
def reader(browser, report) -> Iterator[Reader]:
    found = Reader(browser, report)
    yield found
    assert found.wrong == []
    found.page.close()


def test_every_view_renders_its_figures_and_nothing_hostile_runs(reader: Reader) -> None:
    for view in VIEWS:
        reader.go(view)
        assert reader.page.locator(f"#{view}").is_visible()
    reader.go("studies")
    for number in range(2):
        chart = reader.page.locator("[data-figure]").nth(number)
        chart.scroll_into_view_if_needed()
        reader.until(f"document.querySelectorAll('[data-figure]')[{number}].dataset.drawn")
        assert chart.locator("svg path").count() > 5
    sync_api.expect(reader.page.locator("img")).to_have_count(0)
    assert "alert(1)" in reader.text("#studies")


def test_factors_are_picked_and_levels_left_out(reader: Reader) -> None:
    reader.go("explore/group=1")
    reader.summary("10 experiments in 4 points.")
    reader.page.get_by_label("Rows", exact=True).select_option("seed")
    reader.summary("10 experiments in 6 points.")
    reader.page.get_by_label("Colour").select_option("")
    reader.page.get_by_label("Columns").select_option("model")
    reader.page.get_by_label("Facets").select_option("method")
    reader.summary("10 experiments in 10 points.")
    reader.page.get_by_text("Filter", exact=True).click()
    reader.page.get_by_label("large", exact=True).uncheck()
    reader.summary("6 experiments in 6 points.")
    reader.drawn("#explorer .chart")
    reader.page.get_by_label("Show", exact=True).select_option("heat")
    reader.page.get_by_label("Metric").select_option("quiz.length")
    reader.summary("6 experiments in 6 points.")
    reader.drawn("#explorer .chart")
    reader.page.get_by_role("button", name="Show all again").click()
    reader.summary("10 experiments in 10 points.")


def test_the_address_holds_the_view(reader: Reader) -> None:
    reader.go("explore/group=1&metric=quiz&rows=method&colour=&hide=seed:2.3")
    reader.summary("4 experiments in 2 points.")
    assert "rows=method" in reader.page.url


def test_hovering_tells_the_number_the_interval_and_the_experiments(reader: Reader) -> None:
    reader.go("explore/group=1&rows=model&colour=method&interval=seeds")
    reader.drawn("#explorer .chart")
    reader.page.locator("#explorer .mark-symbol path[aria-label]").nth(0).hover()
    tip = reader.page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    text = " ".join(tip.inner_text().split())
    assert "0.51" in text and "n 3" in text and "small-sft-0" in text
    wanted = mean_interval([0.5, 0.51, 0.52])
    assert f"{wanted.low:.4g} to {wanted.high:.4g}" in text


def test_a_click_at_a_point_lists_its_experiments_and_at_a_single_one_opens_it(reader: Reader) -> None:
    reader.go("explore/group=1&rows=model&colour=method")
    reader.drawn("#explorer .chart")
    reader.page.locator("#explorer .mark-symbol path[aria-label]").nth(0).click()
    sync_api.expect(reader.page.locator(".picked tbody tr")).to_have_count(3)
    reader.go("explore/group=1&rows=seed&colour=method&hide=model:2")
    reader.drawn("#explorer .chart")
    reader.page.locator("#explorer .mark-symbol path[aria-label]").nth(0).click()
    reader.until("location.hash.startsWith('#experiment/1/small-')")


def test_experiments_are_found_by_status_and_by_name(reader: Reader) -> None:
    reader.go("experiments/group=0")
    reader.summary("12 of 12 experiments")
    reader.page.get_by_label("Status").select_option("failed")
    reader.summary("1 of 12 experiments")
    reader.page.get_by_label("Status").select_option("")
    reader.page.get_by_label("Find").fill("large DPO")
    reader.summary("3 of 12 experiments")
    reader.page.get_by_label("Find").fill("")
    reader.page.get_by_label("Order").select_option("down")
    reader.until("document.querySelector('#list tbody tr').innerText.includes('large-dpo-0')")


def test_the_page_of_an_experiment_has_everything_and_texts_are_masked_until_asked_for(
    reader: Reader,
) -> None:
    reader.go("experiment/0/small-sft-0")
    reader.drawn("#curves")
    shown = reader.text("#one")
    for part in (
        "name of small-sft-0",
        "quiz 0.5 ±0.5",
        "evaluate",
        "node1",
        "Run it again",
        "yates why small-sft-0",
    ):
        assert part in shown
    samples = reader.page.locator("#one table", has_text="verdict")
    assert "[masked:" in samples.inner_text() and "alert(1)" not in samples.inner_text()
    reader.page.get_by_role("button", name="Show the texts").click()
    assert "alert(1)" in samples.inner_text()
    reader.page.locator("details.stage summary").first.click()
    assert '"steps": 300' in reader.page.locator("details.stage pre").first.inner_text()


def test_the_page_of_a_failed_experiment_has_its_message(reader: Reader) -> None:
    reader.go("experiment/0/large-dpo-1")
    assert "alert(1)" in reader.text("#one .scroll:has-text('message')")
    reader.go("experiment/0/nobody")
    assert reader.text("#one h1") == "No such experiment"


def test_the_command_that_runs_it_again_selects_this_experiment_alone(reader: Reader) -> None:
    reader.go("experiment/0/large-sft-2")
    words = shlex.split(reader.page.locator("#one .command code").first.text_content())
    assert words[:3] == ["yates", "run", f"{EVIL}.yaml".replace("\u2028", " ")] or words[:2] == [
        "yates",
        "run",
    ]
    condition = words[words.index("--where") + 1]
    levels = [
        {"model": model, "method": method, "seed": seed, "note": EVIL}
        for model in ("small", "large")
        for method in ("sft", "dpo")
        for seed in (0, 1, 2)
    ]
    chosen = chooser(condition, levels)
    assert [one for one in levels if chosen(one)] == [
        {"model": "large", "method": "sft", "seed": 2, "note": EVIL}
    ]


def test_the_keyboard_reaches_everything(reader: Reader) -> None:
    reader.page.keyboard.press("Tab")
    assert reader.page.evaluate("document.activeElement.className") == "skip"
    reader.go("explore/group=1&rows=method&colour=")
    reader.page.get_by_text("As a table").press("Enter")
    reader.page.get_by_role("button", name="show 6").press("Enter")
    sync_api.expect(reader.page.locator(".picked tbody tr")).to_have_count(6)
    assert reader.page.evaluate("document.activeElement.closest('.picked') !== null")
    rows = reader.page.get_by_label("Rows", exact=True)
    rows.focus()
    rows.select_option("seed")
    reader.until("document.activeElement?.dataset.control === 'rows'")


def test_colours_follow_the_system_and_the_reader(browser, report) -> None:
    reader = Reader(browser, report, color_scheme="dark")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    assert reader.page.evaluate(background) == "rgb(20, 23, 29)"
    reader.page.locator("#theme").click()
    assert reader.page.evaluate(background) == "rgb(255, 255, 255)"
    reader.go("explore/group=1")
    reader.drawn("#explorer .chart")
    reader.page.locator("#theme").click()
    reader.page.locator('#explorer .chart [stroke="#39414f"]').first.wait_for()
    assert reader.wrong == []


@pytest.mark.parametrize("view", [*VIEWS, "experiment/1/small-sft-0"])
def test_nothing_is_wider_than_a_phone(browser, report, view: str) -> None:
    reader = Reader(browser, report, **PHONE)
    reader.go(view)
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert reader.wrong == []
    reader.page.close()


def estimated(
    reader: Reader, runs: list[dict[str, Any]], items: int | None, shared: bool = True
) -> dict[str, Any]:
    """What the page's own statistics make of `runs`."""
    source = (FOLDER / "static" / "statistics.js").read_text()
    known = {"quantiles": _quantiles()}
    return reader.page.evaluate(
        "([source, index, runs, items, shared]) => "
        "(0, function () { return Function('index', 'runs', 'items', 'shared', "
        "source + '; return estimate(runs, items, shared)')(index, runs, items, shared); })()",
        [source, known, runs, items, shared],
    )


@pytest.fixture
def bare(browser) -> Iterator[Any]:
    """A page without a policy, so that a function can be tried alone."""
    page = browser.new_page()
    reader = Reader.__new__(Reader)
    reader.page = page
    yield reader
    page.close()


@pytest.mark.parametrize("items", [None, 2, 30, 104, 500])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_interval_of_one_cell_is_that_of_the_tables(bare, items: int | None, count: int) -> None:
    random = np.random.default_rng(count)
    values, errors = random.random(count).tolist(), (random.random(count) / 10).tolist()
    runs = [{"value": one, "error": error, "cell": 0} for one, error in zip(values, errors, strict=True)]
    wanted = combined_interval(values, errors, items)
    found = estimated(bare, runs, items)
    assert (found["mean"], found["low"], found["high"]) == pytest.approx(
        (wanted.mean, wanted.low, wanted.high), rel=2e-5, nan_ok=True
    )
    wanted = mean_interval(values)
    found = estimated(bare, runs, items, shared=False)
    low = math.nan if found["low"] is None else found["low"]
    assert (low, found["n"]) == (pytest.approx(wanted.low, rel=2e-5, nan_ok=True), count)


def test_of_several_cells_the_seeds_are_pooled(bare) -> None:
    """Two cells of two seeds: means 1 and 4, squares 2 and 2, so s² = 2 with 2 df, and the mean's variance s²/4."""
    runs = [{"value": value, "error": None, "cell": cell} for value, cell in ((0, 0), (2, 0), (3, 1), (5, 1))]
    found = estimated(bare, runs, None)
    assert (found["mean"], found["cells"]) == (2.5, 2)
    assert found["high"] - found["mean"] == pytest.approx(4.30265 * math.sqrt(0.5), rel=1e-5)
