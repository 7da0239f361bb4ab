"""DARE, TIES and SLERP against NumPy written from the published definitions, and what must hold for any tensors.

SLERP: Shoemake, SIGGRAPH 1985. TIES: Yadav et al., arXiv 2306.01708. DARE: Yu et al., arXiv 2311.03099. The forms and
defaults are those of the alignment study, section 5.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workers.identity import derive_seed
from workers.models.merging.dare_ties import dare, dare_ties, ties
from workers.models.merging.dense import DENSE_METHODS, merged_tensors
from workers.models.merging.interpolation import layered_interpolation, linear, slerp
from workers.models.merging.parents import Delta
from workers.specs.merge import MergeRecipe

Array = np.ndarray
NAMES = (
    "model.embed_tokens.weight",
    *(
        f"model.layers.{layer}.{part}.weight"
        for layer in range(4)
        for part in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm")
    ),
    "lm_head.weight",
)
LAYERS = 4
ENTRIES = st.floats(-4, 4, width=32).map(lambda value: 0.0 if abs(value) < 1e-3 else value)
SOME = settings(max_examples=60, deadline=None)


def numpy_slerp(first: Array, second: Array, t: float) -> Array:
    """Along the great circle through both, in double precision; a straight line where they hardly differ."""
    v0, v1 = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
    lengths = np.sqrt(v0 @ v0) * np.sqrt(v1 @ v1)
    cosine = v0 @ v1 / lengths if lengths > 0 else 1.0
    if abs(cosine) > 0.9995:
        merged = (1 - t) * v0 + t * v1
    else:
        omega = np.arccos(cosine)
        merged = (np.sin((1 - t) * omega) * v0 + np.sin(t * omega) * v1) / np.sin(omega)
    return merged.reshape(first.shape)


def numpy_ties(deltas: list[Array], weights: list[float], normalize: bool) -> Array:
    """Elect the sign with the greater mass, then add up the entries that have it: the disjoint merge."""
    weighted = np.stack(
        [weight * delta.astype(np.float64) for delta, weight in zip(deltas, weights, strict=True)]
    )
    up, down = np.where(weighted > 0, weighted, 0).sum(0), np.where(weighted < 0, -weighted, 0).sum(0)
    elected = np.where(up > down, 1, np.where(down > up, -1, 0))
    agrees = (np.sign(weighted) == elected) & (weighted != 0)
    total = (weighted * agrees).sum(0)
    kept = (np.asarray(weights).reshape(-1, *[1] * (weighted.ndim - 1)) * agrees).sum(0)
    return np.divide(total, kept, out=np.zeros_like(total), where=kept > 0) if normalize else total


def numpy_layered(name: str) -> float | None:
    """The t of the layered preset: five values over the depth, linear between them."""
    parts = name.split(".")
    if "layers" not in parts:
        return None
    depth = int(parts[2]) / (LAYERS - 1)
    values = {"self_attn": (0, 0.5, 0.3, 0.7, 1), "mlp": (1, 0.5, 0.7, 0.3, 0)}.get(parts[3])
    return None if values is None else float(np.interp(depth, np.linspace(0, 1, 5), values))


def masks(seed: int, name: str, shape: tuple[int, ...], parents: int, density: float) -> list[Array]:
    """The entries that each parent keeps: one stream for each tensor and parent, named in the recipe's seed."""
    drawn = []
    for parent in range(parents):
        generator = torch.Generator().manual_seed(derive_seed(seed, f"merge/{name}/{parent}"))
        drawn.append(torch.rand(shape, generator=generator).numpy() < density)
    return drawn


class Given(Delta):
    """A parent's differences, as they are."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        self.tensors = tensors

    def names(self) -> set[str]:
        return set(self.tensors)

    def of(self, name: str, base: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.tensors[name])


def drawn(seed: int, scale: float = 1.0) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    return {name: (scale * generator.normal(size=(6, 5))).astype(np.float32) for name in NAMES}


def merged(recipe: MergeRecipe, base: dict[str, Array], parents: list[dict[str, Array]]) -> dict[str, Array]:
    """The merge as the stage computes it, over whole models."""
    tensors = {name: torch.from_numpy(each) for name, each in base.items()}
    deltas: list[Delta] = [Given(parent) for parent in parents]
    return {name: each.numpy() for name, each in merged_tensors(recipe, tensors, deltas, LAYERS)}


def close(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert sorted(found) == sorted(expected) == sorted(NAMES)
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_slerp_of_models(t: float, layered: bool) -> None:
    base, parents = drawn(0), [drawn(1), drawn(2)]
    parents[1][NAMES[0]] = 1.01 * (base[NAMES[0]] + parents[0][NAMES[0]]) - base[NAMES[0]]
    found = merged(MergeRecipe(method="slerp", interpolation=t, layered=layered), base, parents)
    expected = {}
    for name in NAMES:
        share = numpy_layered(name) if layered else None
        ends = [base[name] + parent[name] for parent in parents]
        expected[name] = numpy_slerp(*ends, t if share is None else share)
    close(found, expected)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("parents", [2, 3, 4])
@pytest.mark.parametrize("density", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("equal", [True, False])
def test_dare_ties_of_models(density: float, parents: int, normalize: bool, equal: bool) -> None:
    base, given_parents = drawn(0), [drawn(seed, 0.1) for seed in range(1, parents + 1)]
    weights = [1 / parents] * parents if equal else [0.1 * (place + 1) for place in range(parents)]
    recipe = MergeRecipe(
        method="dare-ties",
        density=density,
        scale=0.7,
        normalize=normalize,
        weights=() if equal else tuple(weights),
        seed=5,
    )
    expected = {}
    for name in NAMES:
        kept = masks(5, name, (6, 5), parents, density)
        thinned = [mask * each[name] / density for mask, each in zip(kept, given_parents, strict=True)]
        expected[name] = base[name] + 0.7 * numpy_ties(thinned, weights, normalize)
    close(merged(recipe, base, given_parents), expected)


@pytest.mark.parametrize("parents", [2, 3, 4])
def test_linear_of_models(parents: int) -> None:
    base, given_parents = drawn(0), [drawn(seed) for seed in range(1, parents + 1)]
    found = merged(MergeRecipe(method="linear"), base, given_parents)
    expected = {name: base[name] + np.mean([each[name] for each in given_parents], axis=0) for name in NAMES}
    close(found, expected)


def test_every_dense_method_is_compared() -> None:
    assert set(DENSE_METHODS) == {"slerp", "dare-ties", "linear"}


@st.composite
def several(draw: st.DrawFn, least: int = 2, most: int = 4) -> tuple[list[Array], list[float]]:
    """Parents' differences of one small shape, and their weights."""
    count = draw(st.integers(least, most))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    deltas = [draw(arrays(np.float32, shape, elements=ENTRIES)) for _ in range(count)]
    return deltas, draw(st.lists(st.sampled_from([0.125, 0.25, 0.5, 1.0]), min_size=count, max_size=count))


def tensors(deltas: list[Array]) -> list[torch.Tensor]:
    return [torch.from_numpy(delta) for delta in deltas]


def clear(deltas: list[Array], weights: list[float]) -> bool:
    """Whether no entry's elected sign hangs on rounding."""
    weighted = np.stack([weight * delta for delta, weight in zip(deltas, weights, strict=True)]).astype(
        np.float64
    )
    total, mass = np.abs(weighted.sum(0)), np.abs(weighted).sum(0)
    return bool(((total > 1e-5 * mass) | (mass == 0)).all())


@SOME
@given(several(), st.booleans())
def test_ties_of_any_tensors(parents: tuple[list[Array], list[float]], normalize: bool) -> None:
    deltas, weights = parents
    assume(clear(deltas, weights))
    found = ties(tensors(deltas), weights, normalize).numpy()
    np.testing.assert_allclose(found, numpy_ties(deltas, weights, normalize), rtol=1e-5, atol=1e-6)


@SOME
@given(several(), st.booleans())
def test_ties_does_not_ask_for_the_order_of_parents(
    parents: tuple[list[Array], list[float]], normalize: bool
) -> None:
    deltas, weights = parents
    assume(clear(deltas, weights))
    expected = ties(tensors(deltas), weights, normalize)
    for order in itertools.permutations(range(len(deltas))):
        found = ties(
            tensors([deltas[place] for place in order]), [weights[place] for place in order], normalize
        )
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@SOME
@given(several())
def test_equal_signs_at_density_one_are_linear(parents: tuple[list[Array], list[float]]) -> None:
    deltas, weights = parents
    deltas = [np.abs(delta) * np.sign(deltas[0]) for delta in deltas]
    base = torch.from_numpy(deltas[0] + 1)
    generators = [torch.Generator().manual_seed(place) for place in range(len(deltas))]
    found = dare_ties(
        base, tensors(deltas), weights, density=1.0, scale=1.0, normalize=False, generators=generators
    )
    torch.testing.assert_close(found, linear(base, tensors(deltas), weights), rtol=1e-5, atol=1e-6)


@SOME
@given(several(most=2), st.floats(0, 1))
def test_slerp_between_any_tensors(parents: tuple[list[Array], list[float]], t: float) -> None:
    (first, second), _ = parents
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    cosine = float((first.astype(np.float64) * second).sum()) / lengths if lengths else 1.0
    assume(abs(abs(cosine) - 0.9995) > 1e-5)
    found = slerp(*tensors([first, second]), t).numpy()
    np.testing.assert_allclose(found, numpy_slerp(first, second, t), rtol=1e-3, atol=1e-3)
    mirrored = slerp(*tensors([second, first]), 1 - t).numpy()
    np.testing.assert_allclose(found, mirrored, rtol=1e-4, atol=1e-4)


@SOME
@given(several(most=2))
def test_the_ends_of_slerp_are_the_parents(parents: tuple[list[Array], list[float]]) -> None:
    first, second = tensors(parents[0])
    torch.testing.assert_close(slerp(first, second, 0.0), first, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(slerp(first, second, 1.0), second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("angle", [0.02, 0.031, 0.0317, 0.05, 1.0, math.pi - 0.05, math.pi - 0.02])
def test_the_straight_line_begins_where_the_angle_is_tiny(angle: float) -> None:
    """The cosine of 0.03162 is 0.9995: below it, and near the opposite direction, the line is taken."""
    first, second = np.array([1.0, 0.0]), np.array([math.cos(angle), math.sin(angle)])
    found = slerp(torch.from_numpy(first), torch.from_numpy(second), 0.5).numpy()
    straight = (first + second) / 2
    on_the_circle = np.isclose(np.linalg.norm(found), 1.0, atol=1e-6)
    assert np.allclose(found, straight, atol=1e-6) or on_the_circle
    np.testing.assert_allclose(found, numpy_slerp(first, second, 0.5), atol=2e-4)
    if abs(math.cos(angle)) > 0.9995:
        np.testing.assert_allclose(found, straight, atol=1e-6)


def test_what_dare_keeps_is_divided_by_the_density() -> None:
    delta = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    kept = torch.rand((40, 30), generator=torch.Generator().manual_seed(9)).numpy() < 0.25
    found = dare(torch.from_numpy(delta), 0.25, torch.Generator().manual_seed(9)).numpy()
    np.testing.assert_array_equal(found, np.where(kept, delta / 0.25, 0).astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_the_layered_preset_over_depth(name: str) -> None:
    expected = numpy_layered(name)
    found = layered_interpolation(name, LAYERS, 0.4)
    assert found == pytest.approx(0.4 if expected is None else expected)
