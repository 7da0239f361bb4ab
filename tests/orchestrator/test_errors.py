"""Each mistake in a grid gives one message: file, line, what is wrong, what is allowed, the nearest name."""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import GridError, Problems, mistake, unknown
from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid
from tests.orchestrator.grids import SMALL, replaced, write

TRAINING_KEYS = (
    "autocast, batch_size, beta1, beta2, divergence, epsilon, group_by_length, learning_rate, "
    "max_gradient_norm, optimizer, schedule, steps, validation_rows, validation_steps, warmup_steps, weight_decay"
)
SYNTAX = "comparisons, in, not in, and, or, not, literals, tuples, lists, and names of factors"


def problems_of(directory: Path, text: str, **choices: Any) -> list[str]:
    path = write(directory, text)
    with pytest.raises(GridError) as caught:
        plan_grid(load_grid(path, **choices))
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem).replace(f"{directory}/", "") for problem in caught.value.problems]


GOLDEN = {
    "unknown key in a recipe": (
        replaced("training: {steps", "training: {learning_rat: 1, steps"),
        "grid.yaml:29: unknown key 'learning_rat' in training in recipe of stage 'train' (kind sft); "
        f"did you mean 'learning_rate'? Allowed: {TRAINING_KEYS}",
    ),
    "wrong type, where the level says it": (
        replaced("sft: {rate: 1e-3}", "sft: {rate: fast}"),
        "grid.yaml:12: training.learning_rate in recipe of stage 'train' (kind sft): input should be a valid "
        "number, unable to parse string as a number, not 'fast'",
    ),
    "wrong type, where the constant says it": (
        replaced("rates: {dpo: 5e-4}", "rates: {dpo: fast}"),
        "grid.yaml:14: training.learning_rate in recipe of stage 'train' (kind sft): input should be a valid "
        "number, unable to parse string as a number, not 'fast'",
    ),
    "not one of the words": (
        replaced("steps: 20,", "steps: 20, schedule: cosin,"),
        "grid.yaml:29: training.schedule in recipe of stage 'train' (kind sft): input should be 'constant', "
        "'constant_with_warmup', 'linear' or 'cosine', not 'cosin'; did you mean 'cosine'?",
    ),
    "not finite": (
        replaced("steps: 20,", "steps: 20, divergence: .inf,"),
        "grid.yaml:27: the recipe of stage 'train' holds a number that is not finite",
    ),
    "resources": (
        replaced("resources: {cpus: 1}", "resources: {gpu: 1}"),
        "grid.yaml:30: unknown key 'gpu' in resources of stage 'train' (kind sft); did you mean 'gpus'? "
        "Allowed: cpus, gpu_memory_gb, gpus, hours, memory_gb, network",
    ),
    "cyclic parents": (
        replaced(
            "    recipe:\n      seed: 0\n",
            "    kind: sft\n    parents: {base: train}\n    recipe:\n      seed: 0\n",
        ),
        "grid.yaml:26: parents that go round in a circle: train -> pretrain -> train",
    ),
    "level that does not exist": (
        replaced("product: [model, method, seed]", "product: {model: [tow], method: all, seed: [0]}"),
        "grid.yaml:17: unknown level 'tow' of factor 'model'; did you mean 'two'? Allowed: one, two",
    ),
    "level without settings": (
        replaced("    two: {layers: 2}", "    tow: {layers: 2}"),
        "grid.yaml:4: unknown level 'two' of factor 'model'; did you mean 'tow'? Allowed: one, tow",
    ),
    "level twice": (
        replaced("seed: [0, 1]", "seed: [0, 0]"),
        "grid.yaml:6: level 0 of factor 'seed' stands twice",
    ),
    "level that is a mapping": (
        replaced("seed: [0, 1]", "seed: [{a: 1}]"),
        "grid.yaml:6: a level of factor 'seed' must be a word or a number, not {'a': 1}; "
        "settings belong under levels.seed",
    ),
    "unknown factor in a block": (
        replaced("product: [model, method, seed]", "product: [modle, method, seed]"),
        "grid.yaml:17: unknown factor 'modle' in block 'all'; did you mean 'model'? "
        "Allowed: method, model, seed",
    ),
    "unknown factor in an expression": (
        replaced("    kind: sft\n", "    kind: sft\n    when: modle == 'one'\n"),
        "grid.yaml:26: unknown factor 'modle' in \"modle == 'one'\"; did you mean 'model'? "
        "Allowed: method, model, preset, scale, seed",
    ),
    "unknown level in an expression": (
        replaced("    kind: sft\n", "    kind: sft\n    when: method in ('sft', 'dpoo')\n"),
        "grid.yaml:26: unknown level 'dpoo' of factor 'method'; did you mean 'dpo'? Allowed: dpo, sft",
    ),
    "unknown attribute in an expression": (
        replaced("    kind: sft\n", "    kind: sft\n    when: model.layer == 1\n"),
        "grid.yaml:26: unknown attribute 'layer' of factor 'model'; did you mean 'layers'? Allowed: layers",
    ),
    "unknown attribute in a recipe": (
        replaced("${model.layers}", "${model.layer}"),
        "grid.yaml:21: unknown attribute 'layer' of factor 'model' in ${model.layer}; did you mean 'layers'? "
        "Allowed: layers",
    ),
    "attribute that one level lacks": (
        replaced("one: {layers: 1}", "one: {}"),
        "grid.yaml:21: level 'one' of factor 'model' has no attribute 'layers', which ${model.layers} needs; "
        "these levels have it: two",
    ),
    "expression that is none": (
        replaced("    kind: sft\n", "    kind: sft\n    when: method ==\n"),
        f"grid.yaml:26: 'method ==' is not an expression (invalid syntax); allowed: {SYNTAX}",
    ),
    "expression that calls": (
        replaced("    kind: sft\n", "    kind: sft\n    when: exit()\n"),
        f"grid.yaml:26: 'exit()' is not allowed in 'exit()'; allowed: {SYNTAX}",
    ),
    "empty product": (
        replaced("product: [model, method, seed]", "product: {model: []}"),
        "grid.yaml:17: factor 'model' in block 'all' must be `all` or a list of at least one level",
    ),
    "empty block": (
        replaced("    product: [model, method, seed]\n", "    {}\n"),
        "grid.yaml:16: block 'all' is empty; it needs product, zip or fixed",
    ),
    "everything excluded": (
        replaced("product: [model, method, seed]", "product: [model, method, seed]\n    exclude: seed >= 0"),
        "grid.yaml:16: block 'all' has no experiments: everything is excluded",
    ),
    "unequal zip": (
        replaced("product: [model, method, seed]", "zip: {model: [one, two], method: [sft]}"),
        "grid.yaml:17: coupled factors must have equally many levels: model has 2, method has 1",
    ),
    "half-written file": (
        SMALL[:300],
        "grid.yaml:18: not readable as YAML: did not find expected ',' or ']'; "
        "is the file complete and its indentation even?",
    ),
    "no mapping": (
        "- a\n",
        "grid.yaml:1: the file must hold a mapping (keys with values), and it holds none",
    ),
    "empty file": ("", "grid.yaml:1: the file must hold a mapping (keys with values), and it holds none"),
    "alias in itself": (SMALL + "x: &a [*a]\n", "grid.yaml:35: an alias that contains itself"),
    "duplicate key": (
        replaced("    kind: sft\n", "    kind: sft\n    kind: dpo\n"),
        "grid.yaml:26: key 'kind' stands twice; the first is on line 25",
    ),
    "unknown stage": (
        replaced("{base: pretrain, trained: train}", "{base: pretrain, trained: trian}"),
        "grid.yaml:32: unknown stage 'trian' in parent 'trained' of stage 'evaluate'; did you mean 'train'? "
        "Allowed: evaluate, pretrain, train",
    ),
    "unknown role": (
        replaced("{base: pretrain, trained: train}", "{base: pretrain, traind: train}"),
        "grid.yaml:32: unknown role 'traind' of stage 'evaluate' (kind evaluate); did you mean 'trained'? "
        "Allowed: base, trained",
    ),
    "unknown level of an override": (
        replaced("trained: train}", "trained: {stage: train, with: {method: ppo}}}"),
        "grid.yaml:32: unknown level 'ppo' of factor 'method'; did you mean 'dpo'? Allowed: dpo, sft",
    ),
    "module that is not installed": (
        replaced("kind: sft", "kind: 'nowhere:KIND'"),
        "grid.yaml:25: nowhere:KIND: no module named 'nowhere' is installed (kind of stage 'train')",
    ),
    "unknown key of a stage": (
        replaced("    kind: sft\n", "    knd: sft\n"),
        "grid.yaml:25: unknown key 'knd' in stage 'train'; did you mean 'kind'? "
        "Allowed: execution, for, kind, parents, recipe, resources, show, when",
    ),
    "unknown section": (
        replaced("rates: {dpo", "ratess: {dpo"),
        "grid.yaml:14: unknown key 'ratess' at the top; did you mean 'rates'? Allowed: "
        "blocks, cells, defaults, "
        "factors, levels, name, pipeline, presets, rates, scales, search, study, or a constant that "
        "a reference names",
    ),
    "missing section": (
        replaced("pipeline:", "pipelines:"),
        "grid.yaml:1: the grid has no 'pipeline'; it needs study, factors, blocks, pipeline; "
        "is it the 'pipelines' on grid.yaml:18?",
    ),
    "section of the wrong type": (
        SMALL[: SMALL.index("pipeline:")] + "pipeline: [a]\n",
        "grid.yaml:18: pipeline must be a mapping, not ['a']",
    ),
    "reference to nothing": (
        replaced("${rates.dpo}", "${rates.dp}"),
        "grid.yaml:13: unknown name 'dp' in rates, which ${rates.dp} refers to; did you "
        "mean 'dpo'? Allowed: dpo",
    ),
    "constants in a circle": (
        replaced("rates: {dpo: 5e-4}", "rates: {dpo: '${rates.dpo}'}"),
        "grid.yaml:14: references that go round in a circle: rates.dpo -> rates.dpo",
    ),
    "attributes in a circle": (
        replaced("one: {layers: 1}", "one: {layers: '${model.layers}'}"),
        "grid.yaml:21: references that go round in a circle: model.layers -> model.layers",
    ),
    "seed that is a word": (
        replaced("seed: [0, 1]", "seed: [a]"),
        "grid.yaml:27: the seed of stage 'train' must be a whole number of at least 0, not 'a'",
    ),
    "unknown factor in the name": (
        replaced('name: "{model}/{method}/s{seed}"', 'name: "{modle}"'),
        "grid.yaml:2: unknown factor 'modle' in name; did you mean 'model'? Allowed: method, model, seed",
    ),
    "name that does not tell apart": (
        replaced('name: "{model}/{method}/s{seed}"', 'name: "{model}/{method}"'),
        "grid.yaml:2: two experiments have the name 'one/sft'; name must mention seed too",
    ),
    "step after the end": (
        replaced("benchmarks: [{task: mmlu}]", "benchmarks: [{task: mmlu}]\n      step: 21"),
        "grid.yaml:35: stage 'evaluate' wants step 21 of a training of 20 steps",
    ),
    "parent that does not exist for these levels": (
        replaced("trained: train}", "trained: {stage: train}}").replace(
            "    kind: sft\n", "    kind: sft\n    when: method == 'sft'\n"
        ),
        "grid.yaml:33: stage 'evaluate' needs 'train' as 'trained', and there is none with model=one, "
        "method=dpo, seed=0; mend its `with`, or say `optional: true`",
    ),
    "loop over a factor": (
        replaced("  evaluate:\n", "  evaluate:\n    for: {seed: [1]}\n"),
        "grid.yaml:32: loop variable 'seed' of stage 'evaluate' has the name of a factor",
    ),
    "pipeline without a stage": (
        replaced("    parents: {base: pretrain, trained: train}", "    when: seed == 1").replace(
            "    kind: sft\n", "    kind: sft\n    show: false\n"
        ),
        "grid.yaml:18: no stage of the pipeline holds for model=one, method=sft, seed=0",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_message(case: str, tmp_path: Path) -> None:
    text, message = GOLDEN[case]
    assert problems_of(tmp_path, text)[0].replace(str(tmp_path) + "/", "") == message


CHOICES = {
    "--scale tinny: unknown scale 'tinny' in grid.yaml; did you mean 'tiny'? Allowed: paper, tiny": {
        "scale": "tinny"
    },
    "--preset plain: unknown preset 'plain' in grid.yaml; allowed: corrected": {"preset": "plain"},
    "--cells ful: unknown cells 'ful' in grid.yaml; did you mean 'full'? Allowed: full, other": {
        "cells": "ful"
    },
    "grid.yaml:37: unknown block 'al' in cells 'other'; did you mean 'all'? Allowed: all": {"cells": "other"},
    "--where modle == 'one': unknown factor 'modle' in \"modle == 'one'\"; did you mean 'model'? "
    "Allowed: method, model, preset, scale, seed": {"where": "modle == 'one'"},
    "--where seed == 5: unknown level 5 of factor 'seed'; allowed: 0, 1": {"where": "seed == 5"},
    "--where seed > 5: selects none of the grid's experiments": {"where": "seed > 5"},
    "--where model < 3: cannot evaluate 'model < 3': '<' not supported between instances of "
    "'str' and 'int'": {"where": "model < 3"},
    "--set rates.dpoo=1e-4: unknown key 'dpoo' in rates; did you mean 'dpo'? Allowed: dpo": {
        "overrides": ["rates.dpoo=1e-4"]
    },
    "--set rates.dpo: must be KEY=VALUE, for example recipes.dpo.training.learning_rate=1e-4": {
        "overrides": ["rates.dpo"]
    },
    "--set rates.dpo=[1: the value '[1' is not readable as YAML": {"overrides": ["rates.dpo=[1"]},
    "--set levels.method.dpo.rate.x=1: levels.method.dpo.rate is a reference to rates.dpo; "
    "set rates.dpo instead": {"overrides": ["levels.method.dpo.rate.x=1"]},
    "--set factors.seeds=[0]: unknown key 'seeds' in factors; did you mean 'seed'? Allowed: "
    "method, model, seed": {"overrides": ["factors.seeds=[0]"]},
    "--set factors.seed=3: factor 'seed' must be a list of at least one level, or have `levels` with one": {
        "overrides": ["factors.seed=3"]
    },
    "--set rates.dpo=fast: training.learning_rate in recipe of stage 'train' (kind sft): "
    "input should be a valid "
    "number, unable to parse string as a number, not 'fast'": {"overrides": ["rates.dpo=fast"]},
    "--set pipeline.train.recipe.training.epsilonn=1: unknown key 'epsilonn' in training in recipe of stage "
    f"'train' (kind sft); did you mean 'epsilon'? Allowed: {TRAINING_KEYS}": {
        "overrides": ["pipeline.train.recipe.training.epsilonn=1"]
    },
}


@pytest.mark.parametrize("message", CHOICES)
def test_message_of_the_command_line(message: str, tmp_path: Path) -> None:
    sections = "presets: {corrected: {}}\nscales: {tiny: {}, paper: {}}\ncells: {full: [all], other: [al]}\n"
    assert (
        problems_of(tmp_path, SMALL + sections, **CHOICES[message])[0].replace(f"{tmp_path}/", "") == message
    )


def test_all_mistakes_of_several_stages_at_once(tmp_path: Path) -> None:
    text = replaced("kind: sft", "knd: sft").replace("trained: train", "traind: train")
    assert len(problems_of(tmp_path, text)) == 2


def test_all_mistakes_of_a_recipe_at_once_and_each_once(tmp_path: Path) -> None:
    text = replaced('learning_rate: "${method.rate}"', "learning_rat: 3, stps: 2")
    found = problems_of(tmp_path, text)
    assert [problem.split("'")[1] for problem in found] == ["learning_rat", "stps"]


def test_a_long_list_of_mistakes_is_cut() -> None:
    problems = Problems()
    for number in range(30):
        problems.add("here", str(number))
    with pytest.raises(GridError, match="… and 10 more"):
        problems.raise_found()


def test_collecting_goes_on_and_keeps_every_mistake() -> None:
    problems = Problems()
    for text in ("one", "two", "one"):
        with problems.collecting():
            raise mistake("here", text)
    with pytest.raises(GridError) as caught:
        problems.raise_found()
    assert [problem.text for problem in caught.value.problems] == ["one", "two"]


def test_unknown_without_a_near_name_or_any_name() -> None:
    assert unknown("key", "zzz", ["alpha", "beta"]) == "unknown key 'zzz'; allowed: alpha, beta"
    assert unknown("key", "zzz", []) == "unknown key 'zzz'; allowed: nothing"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(
        GridError, match=r"grids\.yaml: cannot be read: No such file.*did you mean .*grid\.yaml'\?"
    ):
        load_grid(tmp_path / "grids.yaml")
    with pytest.raises(GridError, match="cannot be read"):
        load_grid(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"study: \xff\xfe")
    with pytest.raises(GridError, match="not readable as UTF-8"):
        load_grid(tmp_path / "binary.yaml")


RICH: dict[str, Any] = {
    **yaml.safe_load(SMALL),
    "scales": {"tiny": {"rates": {"dpo": 1e-4}}},
    "presets": {"corrected": {}},
    "cells": {"full": ["all", "some"]},
    "defaults": {"scale": "tiny"},
}
RICH["factors"]["extra"] = {"levels": [1, 2], "when": "method == 'dpo'"}
RICH["blocks"]["some"] = {
    "zip": {"model": ["one", "two"], "method": ["sft", "dpo"]},
    "fixed": {"seed": 0},
    "exclude": ["seed == 1"],
}
RICH["pipeline"]["evaluate"].update(
    {"for": {"step": [1, 2]}, "when": "scale == 'tiny' and model.layers > 0"},
    parents={"trained": {"stage": "train", "with": {"method": ["sft"]}, "optional": True}},
)
JUNK = st.one_of(
    st.sampled_from(
        [
            "${x",
            "${model}",
            "${nope.x}",
            "a ==",
            "x | y",
            "{model}",
            "${rates}",
            "???",
            "${method.rate}",
            "model",
        ]
    ),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-2, 3), st.floats(), st.text(max_size=3)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
        ),
        max_leaves=4,
    ),
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*path, key))


@given(st.sampled_from(list(paths(RICH))[1:]), JUNK, st.sampled_from(["set", "delete", "add"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_damage_gives_a_plan_or_a_message(path: tuple[Any, ...], junk: Any, action: str) -> None:
    grid = copy.deepcopy(RICH)
    holder: Any = grid
    for key in path[:-1]:
        holder = holder[key]
    if action == "delete":
        del holder[path[-1]]
    elif action == "set" or not isinstance(holder, dict):
        holder[path[-1]] = junk
    else:
        holder["added"] = junk
    with tempfile.TemporaryDirectory() as directory:
        written = Path(directory) / "grid.yaml"
        written.write_text(yaml.safe_dump(grid, allow_unicode=True))
        try:
            plan_grid(load_grid(written))
        except GridError as error:
            assert all(str(written) in problem.place for problem in error.problems)
