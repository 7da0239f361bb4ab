"""Identity: what is hashed, what is not, and the ids of each kind as committed.

When a golden id changes, a default or the meaning of a kind has changed: raise the kind's recipe version,
and only then write the golden recipes anew.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.grid import load_grid
from orchestrator.plan import Plan, plan_grid
from orchestrator.source import read_document
from tests.orchestrator import golden
from tests.orchestrator.grids import SMALL, write
from workers.kinds import BUILT_IN

GOLDEN = json.loads(golden.PATH.read_text())
CASES = [(kind, number) for kind, recipes in GOLDEN.items() for number in range(len(recipes))]


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_golden_id(kind: str, number: int) -> None:
    committed = GOLDEN[kind][number]
    assert golden.create(kind, committed["given"]).id == committed["id"]


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_defaults_are_those_that_were_committed(kind: str, number: int) -> None:
    """Defaults are left out of the hash: a changed one would give old ids to new results."""
    committed = GOLDEN[kind][number]
    message = f"a default of {kind} has changed: raise its recipe version"
    assert golden.create(kind, committed["full"]).id == committed["id"], message


def test_every_built_in_kind_has_golden_recipes() -> None:
    assert set(GOLDEN) == set(BUILT_IN), "run python -m tests.orchestrator.golden"


def ids(plan: Plan) -> set[str]:
    return {stage.id for stage in plan.stages}


def shuffled(value: Any, source: random.Random) -> Any:
    """`value` with the keys of every mapping in another order; lists stay, for their order has a meaning."""
    if isinstance(value, dict):
        keys = list(value)
        source.shuffle(keys)
        return {key: shuffled(value[key], source) for key in keys}
    return [shuffled(item, source) for item in value] if isinstance(value, list) else value


@given(st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_keys_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, source: random.Random
) -> None:
    directory = tmp_path_factory.mktemp("order")
    values = read_document(write(directory)).values
    other = write(directory, yaml.safe_dump(shuffled(values, source), sort_keys=False), "other.yaml")
    plain, mixed = plan_grid(load_grid(directory / "grid.yaml")), plan_grid(load_grid(other))
    assert ids(plain) == ids(mixed)
    assert {one.id: one.name for one in plain.experiments} == {one.id: one.name for one in mixed.experiments}


OVERRIDES = {
    "levels.model.one.layers=3": {("pretrain", "one"), ("train", "one"), ("evaluate", "one")},
    "levels.method.sft.rate=2e-3": {("train", "sft"), ("evaluate", "sft")},
    "pipeline.train.recipe.training.steps=21": {("train", ""), ("evaluate", "")},
    "pipeline.evaluate.recipe.batch_size=4": {("evaluate", "")},
    "pipeline.train.resources.cpus=2": set(),
    "pipeline.train.execution.micro_batch=2": set(),
    "name='{model}-{method}-{seed}'": set(),
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_setting_changes_exactly_its_stages_and_their_descendants(override: str, tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    before, after = plan_grid(load_grid(path)), plan_grid(load_grid(path, overrides=[override]))
    changed = {key for key, identity in by_levels(after).items() if by_levels(before)[key] != identity}
    expected = {
        key
        for key in by_levels(before)
        for name, level in OVERRIDES[override]
        if key[0] == name and (not level or level in key[1])
    }
    assert changed == expected
    assert [one.id != two.id for one, two in zip(before.experiments, after.experiments, strict=True)] == [
        any((name, one.levels) in expected for name in one.stages) for one in before.experiments
    ]


def by_levels(plan: Plan) -> dict[tuple[str, tuple[Any, ...]], str]:
    """(stage name, levels of the experiment) -> id; of parents that are not own stages, too."""
    found: dict[tuple[str, tuple[Any, ...]], str] = {}
    for one in plan.experiments:
        for index in one.stages.values():
            stage = plan.stages[index]
            found[stage.name, one.levels] = stage.id
            for _, parent in stage.parents:
                found[plan.stages[parent].name, one.levels] = plan.stages[parent].id
    return found


def test_a_default_that_is_written_out_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path)
    written = load_grid(
        path, overrides=["pipeline.train.recipe.training.beta1=0.9", "pipeline.train.recipe.threads=1"]
    )
    assert ids(plan_grid(written)) == ids(plan_grid(load_grid(path)))


def test_more_levels_keep_what_was_planned(tmp_path: Path) -> None:
    path = write(tmp_path)
    fewer, more = load_grid(path), load_grid(path, overrides=["factors.seed=[0, 1, 2]"])
    before, after = plan_grid(fewer), plan_grid(more)
    assert ids(before) < ids(after)
    assert {one.id for one in before.experiments} < {one.id for one in after.experiments}


def test_scale_is_part_of_an_experiment_and_not_of_a_stage(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL + "scales: {tiny: {}, paper: {}}\n")
    tiny, paper = (plan_grid(load_grid(path, scale=scale)) for scale in ("tiny", "paper"))
    assert ids(tiny) == ids(paper)
    assert not {one.id for one in tiny.experiments} & {one.id for one in paper.experiments}
