"""Benchmark: 100,000 experiments expand and plan in less than ten seconds on one core."""

from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from orchestrator.bundles import make_bundles
from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid
from tests.orchestrator.grids import many, write

RATES = [number / 1e5 for number in range(1, 101)]
DECAYS = [number / 1e4 for number in range(1, 101)]
CASES: dict[str, dict[str, list[Any]]] = {
    "320 cells x 313 seeds": {"cell": list(range(1, 321)), "seed": list(range(313))},
    "100 rates x 100 decays x 10 seeds": {"rate": RATES, "decay": DECAYS, "seed": list(range(10))},
}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = process_time()
    result = work()
    return process_time() - start, result


@pytest.mark.benchmark
@pytest.mark.parametrize("case", CASES)
def test_expand_and_plan(case: str, tmp_path: Path) -> None:
    path = write(tmp_path, many(CASES[case]))
    loading, grid = timed(lambda: load_grid(path))
    planning, plan = timed(lambda: plan_grid(grid))
    recording, _ = timed(plan.record)
    bundling, bundles = timed(lambda: make_bundles(plan.bundled(), 64, 24 * 3600.0, 15.0))
    print(
        f"\n{case}: {len(plan.experiments)} experiments, {len(plan.stages)} stages; CPU "
        f"seconds: expand {loading:.2f}, "
        f"plan {planning:.2f}, record {recording:.2f}, {len(bundles)} bundles {bundling:.2f}"
    )
    assert len(plan.experiments) >= 100_000
    assert len(plan.stages) >= 200_000
    assert loading + planning < 10
