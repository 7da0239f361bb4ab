"""The merge stage: what it leaves, what its figures mean, and which parents it takes."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.support.training import SFT, Lab, Ran, base_of, sft_recipe, short
from workers.context import BadInput, Parent
from workers.models.loading import borrowed_base
from workers.models.merging.parents import AdapterDelta
from workers.models.sources import parent_source
from workers.specs.merge import MERGE, MergeRecipe
from workers.specs.model import ModelRecipe


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("merge"))


@pytest.fixture(scope="module")
def base(lab: Lab) -> Parent:
    return base_of(lab)


@pytest.fixture(scope="module")
def adapters(lab: Lab, base: Parent) -> tuple[Parent, Parent]:
    first, second = (lab.run(SFT, sft_recipe(seed=seed), (base,)).parent("merged") for seed in (0, 1))
    return first, second


@pytest.fixture(scope="module")
def models(lab: Lab, base: Parent) -> tuple[Parent, Parent]:
    """Two trainings of every weight."""
    recipes = [sft_recipe(adapter=None, seed=seed, training=short(2, 1e-4)) for seed in (0, 1)]
    first, second = (lab.run(SFT, recipe, (base,)).parent("merged") for recipe in recipes)
    return first, second


def merged(lab: Lab, parents: tuple[Parent, ...], **settings: object) -> Ran:
    return lab.run(MERGE, MergeRecipe(**{"method": "linear"} | settings), parents)  # type: ignore[arg-type]


def content(ran: Ran) -> dict[str, object]:
    return json.loads((ran.output / "merge.json").read_text())


def weights(parent: Parent) -> dict[str, np.ndarray]:
    """The tensors of a full model."""
    found: dict[str, np.ndarray] = {}
    for path in sorted((parent.output / "model").glob("*.safetensors")):
        found |= load_file(path)
    return found


def test_it_leaves_how_to_make_the_merge_and_no_tensors(lab: Lab, base: Parent, adapters) -> None:
    ran = merged(lab, adapters, weights=(0.25, 0.75))
    assert list(ran.bytes()) == ["merge.json"]
    left = content(ran)
    assert MergeRecipe.model_validate(left["recipe"]) == ran.stage.recipe
    assert left["parents"] == [parent.stage.id for parent in adapters]
    assert left["base"] == f"stage:{base.stage.id}"
    assert left["tensors"] == ran.value("tensors") == 2 * 2


def test_its_figures_are_those_of_the_merged_tensors(lab: Lab, base: Parent, adapters) -> None:
    """`theta_base + 0.25 delta_1 + 0.75 delta_2` over the adapted weights, in NumPy."""
    ran = merged(lab, adapters, weights=(0.25, 0.75))
    first, second = (AdapterDelta(parent.output / "adapter") for parent in adapters)
    squares = entries = 0.0
    for name, tensor in weights(base).items():
        if name in first.names():
            theta = torch.from_numpy(tensor)
            total = tensor + 0.25 * first.of(name, theta).numpy() + 0.75 * second.of(name, theta).numpy()
            squares, entries = squares + float((total.astype(np.float64) ** 2).sum()), entries + total.size
    assert ran.value("entries") == entries
    assert ran.value("norm") == pytest.approx(squares**0.5, rel=1e-5)


def test_full_models_merge_over_every_tensor(lab: Lab, models) -> None:
    ran = merged(lab, models)
    first, second = map(weights, models)
    mean = [(first[name].astype(np.float64) + second[name]) / 2 for name in first]
    assert ran.value("tensors") == len(first)
    assert ran.value("norm") == pytest.approx(sum((each**2).sum() for each in mean) ** 0.5, rel=1e-5)


@pytest.mark.parametrize(("interpolation", "end"), [(0.0, 0), (1.0, 1)])
def test_the_ends_of_an_interpolation_are_the_parents(
    lab: Lab, models, interpolation: float, end: int
) -> None:
    ran = merged(lab, models, method="slerp", interpolation=interpolation)
    norm = sum((each.astype(np.float64) ** 2).sum() for each in weights(models[end]).values()) ** 0.5
    assert ran.value("norm") == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize(("method", "same"), [("slerp", False), ("linear", True)])
def test_the_order_of_parents_matters_where_the_formula_says_so(
    lab: Lab, adapters, method: str, same
) -> None:
    settings = {"interpolation": 0.25} if method == "slerp" else {}
    one, other = (merged(lab, pair, method=method, **settings) for pair in (adapters, adapters[::-1]))
    assert one.stage.id != other.stage.id
    assert (one.value("norm") == pytest.approx(other.value("norm"), rel=1e-6)) is same


def test_a_warm_worker_merges_the_same_bits_and_gives_its_base_back(lab: Lab, base: Parent, adapters) -> None:
    warm = merged(lab, adapters)
    fresh = merged(Lab(lab.root, attempts=1000), adapters)
    assert content(warm)["digest"] == content(fresh)["digest"]
    source, context = parent_source(base), lab.context(base.stage, ())
    with borrowed_base(context, source, ModelRecipe()) as model:
        stored = weights(base)
        for name, parameter in model.named_parameters():
            np.testing.assert_array_equal(parameter.numpy(), stored[name])


def test_it_reports_that_it_began_and_that_it_ended(lab: Lab, adapters) -> None:
    told: list[tuple[int, int | None]] = []
    recipe = MergeRecipe(method="linear")
    lab.run(MERGE, recipe, adapters, on_progress=lambda step, total: told.append((step, total)))
    assert told == [(0, 1), (1, 1)]


def test_only_parents_in_role_merged_are_merged(lab: Lab, base: Parent, adapters) -> None:
    ran = merged(lab, (base, *adapters))
    assert content(ran)["parents"] == [parent.stage.id for parent in adapters]
    assert content(ran)["digest"] == content(merged(lab, adapters))["digest"]


def test_a_parent_that_left_nothing_to_merge_is_named(lab: Lab, adapters, tmp_path) -> None:
    empty = Parent("merged", adapters[1].stage, tmp_path, [])
    with pytest.raises(BadInput, match=rf"{empty.stage.id} \(sft\) left neither adapter nor model to merge"):
        merged(lab, (adapters[0], empty))


def test_a_refused_merge_leaves_no_file(lab: Lab, adapters) -> None:
    recipe = MergeRecipe(method="linear", weights=(1.0, 2.0, 3.0))
    context = lab.context(lab.stage(MERGE, recipe, adapters), adapters)
    with pytest.raises(BadInput):
        MERGE.load_runner()(recipe, context)
    assert list(context.output.iterdir()) == []
