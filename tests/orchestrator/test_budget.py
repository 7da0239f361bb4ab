"""What experiments cost: training against evaluation, alone and in groups."""

from pathlib import Path

import pytest

from orchestrator.budget import by_factors, experiments_alone, longest_chain, phase, phases
from orchestrator.grid import load_grid
from orchestrator.plan import Plan, plan_grid
from results.files import WorkspaceError
from tests.orchestrator.grids import costing, write

SECONDS = {"pretrain/pretrain": 60.0, "sft/train": 1800.0, "evaluate/evaluate": 30.0}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return costing(plan_grid(load_grid(write(tmp_path))), SECONDS)


def test_kinds_that_measure_a_model_are_evaluation() -> None:
    assert [phase(kind) for kind in ("evaluate", "generate", "judge", "sft", "merge", "tokenize")] == [
        *["evaluation"] * 3,
        *["training"] * 3,
    ]


def test_an_experiment_alone_counts_what_it_shares(plan: Plan) -> None:
    found = list(experiments_alone(plan))
    assert len(found) == 8
    assert {(one.training, one.evaluation) for one in found} == {(1860.0, 30.0)}


def test_a_shared_stage_counts_once_in_the_plan(plan: Plan) -> None:
    found = phases(plan)
    assert found["training"]["seconds"] == 2 * 60 + 8 * 1800
    assert found["evaluation"] == {
        "stages": 8,
        "seconds": 240.0,
        "gpu_hours": 0.0,
        "least": 30.0,
        "median": 30.0,
        "most": 30.0,
    }


def test_the_longest_chain_is_base_training_and_evaluation(plan: Plan) -> None:
    assert longest_chain(plan) == 60 + 1800 + 30


def test_groups_by_factors_in_the_plan_s_order(plan: Plan) -> None:
    factor = plan.factors[0]
    rows = by_factors(plan, [factor])
    assert [row[factor] for row in rows] == list(dict.fromkeys(one.levels[0] for one in plan.experiments))
    assert sum(row["experiments"] for row in rows) == 8
    assert all((row["training"], row["evaluation"]) == (1860.0, 30.0) for row in rows)


def test_a_factor_that_does_not_exist_is_named(plan: Plan) -> None:
    wrong = plan.factors[0] + "s"
    with pytest.raises(WorkspaceError, match=f"unknown factor '{wrong}'; did you mean"):
        by_factors(plan, [wrong])
