"""`--seeds`: how many, and which."""

from pathlib import Path

import pytest

from orchestrator.errors import GridError
from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid

GRID = """study: tutorial
factors:
  size: [small, large]
  seed: {seeds}
blocks: {{all: {{product: {{size: all, seed: all}}}}}}
pipeline:
  pretrain:
    recipe:
      model: {{shape: {{hidden_size: 32, layers: 2}}}}
      tokenizer: {{world: {{}}}}
      data: {{source: {{world: {{}}}}, block: 32}}
      training: {{steps: 60, batch_size: 8, learning_rate: 3e-3}}
    resources: {{cpus: 1, memory_gb: 2}}
"""


@pytest.fixture
def grid(tmp_path: Path):
    def write(seeds: str = "[0, 1]") -> Path:
        path = tmp_path / "grid.yaml"
        path.write_text(GRID.format(seeds=seeds))
        return path

    return write


def seeds(grid, count):
    return sorted({vector[1] for vector in load_grid(grid, seeds=count).experiments})


@pytest.mark.parametrize(
    ("listed", "count", "found"),
    [
        ("[0, 1]", 2, [0, 1]),
        ("[0, 1]", 4, [0, 1, 2, 3]),
        ("[0, 1]", 1, [0]),
        ("[42, 1337, 2024]", 5, [42, 1337, 2024, 2025, 2026]),
        ("{levels: [3]}", 2, [3, 4]),
    ],
)
def test_seeds_are_extended_beyond_the_largest(grid, listed, count, found) -> None:
    assert seeds(grid(listed), count) == found


def test_more_seeds_keep_every_stage_there_was(grid) -> None:
    few, many = (plan_grid(load_grid(grid(), seeds=count)) for count in (2, 5))
    assert {stage.id for stage in few.stages} < {stage.id for stage in many.stages}
    assert {one.id for one in few.experiments} < {one.id for one in many.experiments}


def test_seeds_come_after_overrides_and_go_with_a_selection(grid) -> None:
    found = load_grid(grid(), overrides=["factors.seed=[7]"], seeds=3, where='size == "small" and seed > 7')
    assert sorted(vector[1] for vector in found.experiments) == [8, 9]


@pytest.mark.parametrize(
    ("listed", "count", "said"),
    [
        ("[a, b]", 3, "--seeds 3: the levels of 'seed' must be a list of whole numbers"),
        ("[true, false]", 3, "whole numbers"),
        ("[0]", 0, "one seed or more"),
    ],
)
def test_a_mistake_is_named(grid, listed, count, said) -> None:
    with pytest.raises(GridError, match=said):
        load_grid(grid(listed), seeds=count)


def test_a_grid_without_seeds(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID.format(seeds="[0]").replace("seed", "speed"))
    with pytest.raises(GridError, match="has no factor 'seed'"):
        load_grid(path, seeds=2)
