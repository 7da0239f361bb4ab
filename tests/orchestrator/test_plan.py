"""Plans: stages once each, parents first, and everything that workers need of them."""

import subprocess
import sys
from pathlib import Path
from time import process_time

import pytest

from orchestrator.grid import load_grid
from orchestrator.plan import Plan, plan_grid
from results.layout import Workspace
from results.plans import read_plans, write_plan
from tests.orchestrator.grids import SMALL, many, replaced, write
from workers.stage import Stage


def plan_of(directory: Path, text: str = SMALL, **choices: object) -> Plan:
    return plan_grid(load_grid(write(directory, text), **choices))  # type: ignore[arg-type]


def of(plan: Plan, name: str) -> list[int]:
    return [index for index, stage in enumerate(plan.stages) if stage.name == name]


def test_equal_stages_are_one(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert len(plan.experiments) == 8
    assert [len(of(plan, name)) for name in ("pretrain", "train", "evaluate")] == [2, 8, 8]
    assert len({stage.id for stage in plan.stages}) == len(plan.stages)
    assert len({one.id for one in plan.experiments}) == 8


def test_parents_come_first(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert all(parent < index for index, stage in enumerate(plan.stages) for _, parent in stage.parents)


def test_a_stage_is_what_workers_would_make_of_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    for index, planned in enumerate(plan.stages):
        stage = plan.stage(index)
        assert stage == Stage.create(planned.kind, stage.recipe, stage.parents)
        assert stage.recipe.seed == planned.seed


def test_the_seed_is_the_experiment_s_unless_the_recipe_has_one(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert {plan.stages[index].seed for index in of(plan, "pretrain")} == {0}
    assert sorted(plan.stages[index].seed for index in of(plan, "train")) == [0] * 4 + [1] * 4


def test_recipes_are_shared_by_seeds(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, many({"cell": [1, 2], "seed": list(range(5))}))
    assert len({id(plan.stages[index].recipe) for index in of(plan, "train")}) == 2


def test_hidden_stages_exist_for_their_children_only(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert all(list(one.stages) == ["train", "evaluate"] for one in plan.experiments)
    alone = plan_of(
        tmp_path,
        replaced("product: [model, method, seed]", "product: [method, seed]\n    fixed: {model: one}"),
    )
    assert len(of(alone, "pretrain")) == 1


def test_a_selection_plans_the_parents_that_it_needs(tmp_path: Path) -> None:
    text = replaced("trained: train}", "trained: {stage: train, with: {method: sft}}}")
    plan = plan_of(tmp_path, text, where="method == 'dpo' and model == 'one' and seed == 0")
    own = plan.experiments[0].stages
    (_, parent) = plan.stages[own["evaluate"]].parents[1]
    assert parent != own["train"]
    assert plan.stages[parent].recipe.training.learning_rate == 1e-3  # type: ignore[attr-defined]


def test_overrides_multiply_in_order(tmp_path: Path) -> None:
    merge = """\
  merge:
    parents:
      merged: {stage: train, with: {method: "${method.parents}", seed: [1, 0]}}
    recipe: {}
"""
    text = replaced("sft: {rate", "sft: {parents: [sft, dpo], rate", SMALL + merge)
    text = replaced('dpo: {rate: "$', 'dpo: {parents: dpo, rate: "$', text)
    plan = plan_of(tmp_path, text)
    both = next(one for one in plan.experiments if one.levels == ("one", "sft", 0))
    merged = [plan.stages[parent] for _, parent in plan.stages[both.stages["merge"]].parents]
    seen = [(stage.recipe.training.learning_rate, stage.seed) for stage in merged]  # type: ignore[attr-defined]
    assert seen == [(1e-3, 1), (1e-3, 0), (5e-4, 1), (5e-4, 0)]
    single = next(one for one in plan.experiments if one.levels == ("one", "dpo", 0))
    assert len(plan.stages[single.stages["merge"]].parents) == 2


def test_alternatives_take_the_first_stage_that_exists(tmp_path: Path) -> None:
    extra = """\
  instruct:
    kind: sft
    show: false
    when: model == "two"
    parents: {base: pretrain}
    recipe: {seed: 0, instructions: {}}
"""
    text = replaced(
        "kind: sft\n    parents: {base: pretrain}", "kind: sft\n    parents: {base: instruct | pretrain}"
    )
    plan = plan_of(tmp_path, text + extra)
    bases = {
        one.levels[0]: plan.stages[plan.stages[one.stages["train"]].parents[0][1]].name
        for one in plan.experiments
    }
    assert bases == {"one": "pretrain", "two": "instruct"}


STEPS = replaced(
    'dpo: {rate: "$', 'dpo: {steps: 20, rate: "$', replaced("sft: {rate", "sft: {steps: [5, 10], rate")
)
LOOP = replaced(
    "  evaluate:\n",
    '  evaluate:\n    for: {step: "${method.steps}"}\n',
    replaced("[{task: mmlu}]", "[{task: mmlu}]\n      step: ${step}", STEPS),
)


def test_a_loop_gives_one_stage_for_each_value(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, LOOP)
    own = {one.levels[1]: list(one.stages) for one in plan.experiments}
    assert own == {"sft": ["train", "evaluate@5", "evaluate@10"], "dpo": ["train", "evaluate@20"]}


def test_a_training_keeps_the_snapshots_that_its_children_evaluate(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, LOOP)
    kept = {one.levels[1]: plan.stages[one.stages["train"]].execution.snapshots for one in plan.experiments}
    assert kept == {"sft": (5, 10), "dpo": (20,)}


def test_snapshots_add_to_those_of_the_execution_and_leave_ids_alone(tmp_path: Path) -> None:
    text = replaced("resources: {cpus: 1}", "execution: {snapshots: [7, 5]}", LOOP)
    plan = plan_of(tmp_path, text)
    assert {plan.stages[index].execution.snapshots for index in of(plan, "train")} == {(5, 7, 10), (5, 7, 20)}
    assert [stage.id for stage in plan.stages] == [stage.id for stage in plan_of(tmp_path, LOOP).stages]


def test_affinity_is_the_base_model(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    for one in plan.experiments:
        train, evaluate = (plan.stages[one.stages[name]] for name in ("train", "evaluate"))
        assert train.affinity == evaluate.affinity == plan.stages[train.parents[0][1]].id[:16]
    assert len({stage.affinity for stage in plan.stages}) == 2


def test_shapes_say_what_each_needs(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, replaced("resources: {cpus: 1}", 'resources: {gpus: 1, hours: "${model.layers}"}')
    )
    assert set(plan.shapes) == {"cpu1-mem2g", "gpu1-cpu1-mem2g"}
    assert plan.shapes["gpu1-cpu1-mem2g"]["hours"] == 2.0


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    workspace = Workspace(tmp_path / "runs")
    write_plan(workspace, plan.record())
    (read,) = read_plans(workspace)
    assert read.experiments == plan.record().experiments
    assert read.stages == plan.record().stages
    assert read.shapes == plan.shapes
    assert read.factors == ("model", "method", "seed")


def test_bundled_has_every_stage_with_the_ids_of_its_parents(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    for stage, bundled in zip(plan.stages, plan.bundled(), strict=True):
        assert bundled.id == stage.id
        assert bundled.parents == tuple(plan.stages[parent].id for _, parent in stage.parents)


def test_a_kind_of_one_s_own(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, replaced("kind: sft", "kind: workers.specs.sft:SFT"))
    train = plan.stages[of(plan, "train")[0]]
    assert train.kind.reference == "workers.specs.sft:SFT"
    assert train.id in {stage.id for stage in plan_of(tmp_path).stages}


@pytest.mark.parametrize("count", [20])
def test_thousands_of_experiments_are_quick(count: int, tmp_path: Path) -> None:
    """A smaller `tests/benchmarks/test_planning.py`: 10,000 experiments."""
    path = write(tmp_path, many({"cell": list(range(1, count + 1)), "seed": list(range(10_000 // count))}))
    start = process_time()
    plan = plan_grid(load_grid(path))
    assert process_time() - start < 5
    assert len(plan.experiments) == 10_000
    assert len(plan.stages) == 20_001


def test_planning_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'pandas', 'pyarrow', 'ray', 'datasets', 'trl', 'peft', 'numpy'}"
    command = (
        f"import sys, orchestrator.plan, orchestrator.planner; print(sorted({heavy} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
