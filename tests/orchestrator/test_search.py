"""Searches in a grid: what is drawn, that trials are ordinary experiments, and what is refused."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.search import Search
from orchestrator.errors import GridError
from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid
from orchestrator.remainder import searches
from orchestrator.search import BlockSearch, Distribution
from results.layout import Workspace
from results.plans import read_plans, write_plan
from tests.orchestrator.grids import write

SEARCH = """\
study: searching
name: "{model}/r{rank}-lr{rate}"
factors: {model: [one, two]}
levels: {model: {one: {layers: 1}, two: {layers: 2}}}
blocks:
  all:
    product: {model: all}
    search:
      parameters: {rank: [4, 8], rate: {loguniform: [1e-4, 1e-2]}}
      samples: 6
search:
  stages: [train]
  scheduler: {asha: {grace_steps: 5}}
  feeds: {rank: "recipes.{model}.rank"}
pipeline:
  pretrain:
    show: false
    recipe: {seed: 0, model: {shape: {layers: "${model.layers}"}}}
  train:
    kind: sft
    parents: {base: pretrain}
    recipe:
      seed: 0
      adapter: {rank: "${rank}", target_modules: [q_proj]}
      preferences: {samples: 64, validation: 0.1}
      training: {steps: 20, learning_rate: "${rate}", validation_steps: 5}
"""


HALVES = r"no block says what is searched|no `search:` that says by which metric"


def grid(directory: Path, old: str = "", new: str = "", **options: object):
    assert old in SEARCH
    return load_grid(write(directory, SEARCH.replace(old, new) if old else SEARCH), **options)  # type: ignore[arg-type]


def test_every_trial_is_an_ordinary_experiment(tmp_path: Path) -> None:
    found = grid(tmp_path)
    rows = [found.levels(vector) for vector in found.experiments]
    assert len(rows) == 12
    assert {row["rank"] for row in rows} == {4, 8}
    assert all(1e-4 <= row["rate"] <= 1e-2 for row in rows)
    one, two = (
        [(row["rank"], row["rate"]) for row in rows if row["model"] == name] for name in ("one", "two")
    )
    assert sorted(one) == sorted(two), "both models are searched over the same draws"
    plan = plan_grid(found)
    train = [stage for stage in plan.stages if stage.name == "train"]
    assert len(train) == 12
    assert len([stage for stage in plan.stages if stage.name == "pretrain"]) == 2


def test_the_draw_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def drawn(*overrides: str) -> list[dict]:
        found = grid(tmp_path, overrides=overrides)
        return [found.levels(vector) for vector in found.experiments]

    assert drawn() == drawn()
    other = drawn("blocks.all.search.seed=1")
    assert other != drawn()
    more = drawn("blocks.all.search.samples=8")
    rates = {row["rate"] for row in more}
    assert {row["rate"] for row in drawn()} <= rates, "more samples add to the fewer"


def test_lists_alone_give_their_product(tmp_path: Path) -> None:
    found = grid(
        tmp_path,
        "      parameters: {rank: [4, 8], rate: {loguniform: [1e-4, 1e-2]}}\n      samples: 6",
        "      parameters: {rank: [4, 8], rate: [1e-3, 1e-4, 1e-5]}",
    )
    assert len(found.experiments) == 12


def test_a_budget_bounds_the_trials_of_a_block(tmp_path: Path) -> None:
    found = grid(tmp_path, overrides=["search.budget={trials: 2}"])
    assert len(found.experiments) == 4


def test_trials_are_grouped_by_all_but_what_is_searched(tmp_path: Path) -> None:
    plan = plan_grid(grid(tmp_path))
    assert plan.search is not None
    assert len(plan.search.trials) == 12
    assert len(set(plan.search.trials.values())) == 2
    assert plan.search.parameters == ("rank", "rate")


def test_the_search_survives_the_plans_file(tmp_path: Path) -> None:
    plan = plan_grid(grid(tmp_path))
    workspace = Workspace(tmp_path / "runs")
    write_plan(workspace, plan.record())
    [read] = read_plans(workspace)
    assert Search.read(read.search) == plan.search
    assert Search.read(searches([read])) == plan.search


def test_a_plan_without_a_search_is_written_as_before(tmp_path: Path) -> None:
    text = SEARCH[: SEARCH.index("search:\n  stages")] + SEARCH[SEARCH.index("pipeline:") :]
    block = text[text.index("    search:") : text.index("pipeline:")]
    text = text.replace(block, "").replace(
        "factors: {model: [one, two]}", "factors: {model: [one, two], rank: [4], rate: [1e-3]}"
    )
    text = text.replace("product: {model: all}", "product: {model: all, rank: all, rate: all}")
    plan = plan_grid(load_grid(write(tmp_path, text)))
    assert plan.search is None
    path = (
        Workspace(tmp_path / "runs").plans / f"{write_plan(Workspace(tmp_path / 'runs'), plan.record())}.json"
    )
    assert '"search"' not in path.read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stages: [train]", "stages: [trian]", "unknown stage 'trian' of the pipeline; did you mean 'train'"),
        ("grace_steps: 5", "grace_step: 5", "did you mean 'grace_steps'"),
        (
            "      samples: 6\n",
            "",
            "`samples` must say how many trials to draw, since rate is a distribution",
        ),
        ("loguniform: [1e-4, 1e-2]", "loguniform: [0, 1e-2]", "bounds of loguniform must be above 0"),
        ("loguniform: [1e-4, 1e-2]", "uniform: [2, 1]", "first bound must be below the second"),
        ("loguniform: [1e-4, 1e-2]", "uniform: [1, 2], choice: [1]", "give exactly one of"),
        ('feeds: {rank: "', 'feeds: {rnak: "', "unknown parameter 'rnak'"),
        ("product: {model: all}", "zip: {model: [one, two]}", "has a `zip` already"),
        (
            "asha: {grace_steps: 5}",
            "asha: {grace_steps: 5}, median_stopping: {grace_steps: 5}",
            "one scheduler",
        ),
    ],
)
def test_a_search_that_cannot_be_is_one_message_with_its_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(GridError) as caught:
        grid(tmp_path, old, new)
    assert message in str(caught.value)
    assert "grid.yaml:" in str(caught.value)


@pytest.mark.parametrize("half", ["blocks", "search"])
def test_half_a_search_is_refused(tmp_path: Path, half: str) -> None:
    start, end = {
        "blocks": ("    search:\n", "search:\n  stages"),
        "search": ("search:\n  stages", "pipeline:"),
    }[half]
    text = SEARCH[: SEARCH.index(start)] + SEARCH[SEARCH.index(end) :]
    with pytest.raises(GridError, match=HALVES):
        load_grid(write(tmp_path, text))


@given(st.integers(0, 1000), st.integers(1, 40))
def test_draws_are_distinct_bounded_and_short(seed: int, samples: int) -> None:
    search = BlockSearch.model_validate(
        {
            "parameters": {
                "a": {"loguniform": [1e-6, 1e-1]},
                "b": {"uniform": [-1, 1]},
                "c": {"randint": [1, 4]},
                "d": {"choice": ["x", "y"]},
                "e": [1, 2, 3],
            },
            "samples": samples,
            "seed": seed,
        }
    )
    rows = search.rows("block", None)
    assert len(rows) == len(set(rows)) == samples
    for a, b, c, d, e in rows:
        assert 1e-6 <= a <= 1e-1 and -1 <= b <= 1 and c in (1, 2, 3, 4) and d in "xy" and e in (1, 2, 3)
        assert float(f"{a:.3g}") == a
    assert search.rows("block", 3) == rows[:3]


def test_loguniform_is_uniform_in_the_logarithm() -> None:
    import random

    chance = random.Random(0)
    one = Distribution(loguniform=(1e-4, 1.0))
    drawn = sorted(math.log10(float(one.draw(chance))) for _ in range(4000))
    quarters = [sum(low <= value < low + 1 for value in drawn) for low in (-4, -3, -2, -1)]
    assert all(850 < count < 1150 for count in quarters)


def test_few_distinct_rows_are_not_waited_for() -> None:
    search = BlockSearch.model_validate({"parameters": {"a": [1, 2]}, "samples": 10})
    assert sorted(search.rows("block", None)) == [(1,), (2,)]
