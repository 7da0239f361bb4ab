"""Merging formulas against independent NumPy, and merges of real adapters."""

import json

import numpy as np
import pytest
import torch

from tests.support.training import DPO, NF4, SFT, Lab, base_of, dpo_recipe, lora, sft_recipe
from workers.context import BadInput, Parent
from workers.models.loading import trained_model
from workers.models.merging.dare_ties import dare, dare_ties, ties
from workers.models.merging.dense import tensors_digest
from workers.models.merging.interpolation import layered_interpolation, linear, slerp
from workers.models.merging.parents import AdapterDelta
from workers.specs.evaluate import EVALUATE, EvaluateRecipe
from workers.specs.merge import MERGE, MergeRecipe
from workers.specs.model import ModelRecipe


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 1.0])
def test_slerp(t):
    first, second = drawn(5, 7), drawn(5, 7, seed=1)
    a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    omega = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    expected = np.sin((1 - t) * omega) / np.sin(omega) * a + np.sin(t * omega) / np.sin(omega) * b
    merged = slerp(torch.tensor(first), torch.tensor(second), t).numpy()
    np.testing.assert_allclose(merged.ravel(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0])
def test_slerp_of_parallel_tensors_is_a_straight_line(factor):
    first = torch.tensor(drawn(4, 4))
    merged = slerp(first, factor * first, 0.25)
    torch.testing.assert_close(merged, 0.75 * first + 0.25 * factor * first)


def test_slerp_of_zero_does_not_divide_by_it():
    assert torch.equal(slerp(torch.zeros(3), torch.ones(3), 0.5), torch.full((3,), 0.5))


def test_linear():
    base, deltas = drawn(3, 4), [drawn(3, 4, seed=seed) for seed in (1, 2, 3)]
    merged = linear(torch.tensor(base), [torch.tensor(each) for each in deltas], [0.2, 0.3, 0.5])
    np.testing.assert_allclose(
        merged.numpy(), base + 0.2 * deltas[0] + 0.3 * deltas[1] + 0.5 * deltas[2], rtol=1e-5
    )


def test_dare_keeps_a_share_and_rescales():
    delta = torch.tensor(drawn(200, 200))
    thinned = dare(delta, 0.3, torch.Generator().manual_seed(1))
    kept = thinned != 0
    assert kept.float().mean().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(thinned[kept], delta[kept] / 0.3)
    assert thinned.mean().item() == pytest.approx(delta.mean().item(), abs=0.02)


def test_dare_at_density_one_keeps_everything():
    delta = torch.tensor(drawn(9, 9))
    assert torch.equal(dare(delta, 1.0, torch.Generator().manual_seed(1)), delta)


def numpy_ties(deltas: list[np.ndarray], weights: list[float], normalize: bool) -> np.ndarray:
    """Entry by entry, as the formula reads."""
    merged = np.zeros_like(deltas[0])
    for place in np.ndindex(merged.shape):
        values = [weight * delta[place] for weight, delta in zip(weights, deltas, strict=True)]
        sign = np.sign(np.float32(sum(values)))
        kept = [each for each in range(len(values)) if values[each] != 0 and np.sign(values[each]) == sign]
        total = sum(values[each] for each in kept)
        merged[place] = total / sum(weights[each] for each in kept) if normalize and kept else total
    return merged


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("parents", [2, 4])
def test_ties(normalize, parents):
    deltas = [drawn(6, 5, seed=seed) * (drawn(6, 5, seed=seed + 50) > 0) for seed in range(parents)]
    weights = [0.1 * (place + 1) for place in range(parents)]
    merged = ties([torch.tensor(each) for each in deltas], weights, normalize).numpy()
    np.testing.assert_allclose(merged, numpy_ties(deltas, weights, normalize), rtol=1e-5, atol=1e-7)


def test_ties_of_opposites_is_zero():
    delta = torch.tensor(drawn(3, 3))
    assert torch.equal(ties([delta, -delta], [0.5, 0.5]), torch.zeros(3, 3))


def test_dare_ties_adds_to_the_base():
    base, deltas = torch.tensor(drawn(4, 4)), [torch.tensor(drawn(4, 4, seed=seed)) for seed in (1, 2)]
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    merged = dare_ties(
        base, deltas, [0.5, 0.5], density=1.0, scale=2.0, normalize=False, generators=generators
    ).numpy()
    expected = base.numpy() + 2.0 * numpy_ties([each.numpy() for each in deltas], [0.5, 0.5], False)
    np.testing.assert_allclose(merged, expected, rtol=1e-5, atol=1e-6)


def test_layered_interpolation_over_depth():
    name = "model.layers.{}.self_attn.q_proj.weight"
    assert [layered_interpolation(name.format(layer), 5, 0.5) for layer in range(5)] == [0, 0.5, 0.3, 0.7, 1]
    assert layered_interpolation("model.layers.1.mlp.up_proj.weight", 9, 0.5) == pytest.approx(0.75)
    assert layered_interpolation("model.layers.1.input_layernorm.weight", 9, 0.5) == 0.5
    assert layered_interpolation("lm_head.weight", 9, 0.4) == 0.4


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("merging"))


@pytest.fixture(scope="module")
def parents(lab: Lab) -> list[Parent]:
    """Two SFT adapters and a DPO adapter of another rank and other modules, on one base."""
    base = base_of(lab)
    helpful = sft_recipe().preferences.model_copy(update={"preference": "helpful"})
    adapter = lora(rank=2).model_copy(update={"target_modules": ("q_proj", "up_proj")})
    ran = [
        lab.run(SFT, sft_recipe(), (base,)),
        lab.run(SFT, sft_recipe(preferences=helpful), (base,)),
        lab.run(DPO, dpo_recipe(adapter=adapter), (base,)),
    ]
    return [each.parent("merged") for each in ran]


def logits_of(lab: Lab, parent: Parent, quantization=None) -> torch.Tensor:
    trained = Parent("trained", parent.stage, parent.output, [])
    stage = lab.stage(EVALUATE, EvaluateRecipe(quantization=quantization), (trained,))
    context = lab.context(stage, (trained,))
    with trained_model(context, ModelRecipe(), quantization) as (model, tokenizer), torch.no_grad():
        return model(**tokenizer("USER: what is", return_tensors="pt")).logits.float()


@pytest.mark.parametrize("method", ["slerp", "dare-ties", "linear", "peft-dare-ties"])
def test_a_merge_is_rebuilt_with_its_own_digest(lab: Lab, parents, method, recwarn):
    merged = lab.run(MERGE, MergeRecipe(method=method), tuple(parents[:2])).parent("trained")
    content = json.loads((merged.output / "merge.json").read_text())
    assert content["parents"] == [parent.stage.id for parent in parents[:2]]
    again = lab.run(MERGE, MergeRecipe(method=method), tuple(parents[:2]))
    assert json.loads((again.output / "merge.json").read_text()) == content
    logits = logits_of(lab, merged)
    assert not torch.equal(logits, logits_of(lab, parents[0]))
    assert torch.equal(logits, logits_of(lab, merged))
    assert not [each for each in recwarn if "other bits" in str(each.message)]


def test_parents_of_unequal_rank_merge_as_dense_tensors(lab: Lab, parents):
    assert lab.run(MERGE, MergeRecipe(method="dare-ties"), tuple(parents)).value("tensors") == 2 * 3


def test_linear_merge_is_the_mean_of_the_parents(lab: Lab, parents):
    """On logits of one parent alone: weights (1, 0) give the first parent back."""
    merged = lab.run(MERGE, MergeRecipe(method="linear", weights=(1.0, 0.0)), tuple(parents[:2])).parent(
        "trained"
    )
    torch.testing.assert_close(logits_of(lab, merged), logits_of(lab, parents[0]), rtol=1e-4, atol=1e-5)


def test_adapter_delta_is_scaled_b_times_a(parents):
    delta = AdapterDelta(parents[0].output / "adapter")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert name in delta.names()
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    a, b = (delta._tensors[f"{prefix}.lora_{each}.weight"].numpy() for each in "AB")
    np.testing.assert_allclose(
        delta.of(name, torch.zeros(32, 32)).numpy(), 8 / 4 * b @ a, rtol=1e-5, atol=1e-7
    )
    assert not delta.of("model.norm.weight", torch.zeros(32)).any()


def test_another_seed_draws_other_masks(lab: Lab, parents):
    ran = [lab.run(MERGE, MergeRecipe(method="dare-ties", seed=seed), tuple(parents[:2])) for seed in (0, 1)]
    assert ran[0].bytes() != ran[1].bytes()


def test_a_merge_stored_in_four_bits(lab: Lab, parents):
    merged = lab.run(MERGE, MergeRecipe(method="linear"), tuple(parents[:2])).parent("trained")
    dense, quantized = logits_of(lab, merged), logits_of(lab, merged, NF4)
    assert not torch.equal(dense, quantized)
    torch.testing.assert_close(dense, quantized, rtol=0.5, atol=0.5)


def test_a_dequantized_base(lab: Lab, parents):
    base = _base(lab, parents[0])
    ran = [
        lab.run(SFT, sft_recipe(adapter=lora(NF4), seed=seed), (base,)).parent("merged") for seed in (0, 1)
    ]
    lossless = lab.run(MERGE, MergeRecipe(method="linear"), tuple(ran)).parent("trained")
    lossy = lab.run(MERGE, MergeRecipe(method="linear", base_precision="dequantized"), tuple(ran)).parent(
        "trained"
    )
    assert not torch.equal(logits_of(lab, lossless), logits_of(lab, lossy))
    with pytest.raises(BadInput, match="dequantized"):
        lab.run(MERGE, MergeRecipe(method="linear", base_precision="dequantized"), tuple(parents[:2]))


def _base(lab: Lab, parent: Parent) -> Parent:
    from workers.models.sources import committed_parent

    found = committed_parent(lab.workspace, parent.stage, "base")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("recipe", "count", "message"),
    [
        (MergeRecipe(method="slerp"), 3, "slerp merges two parents, not 3"),
        (MergeRecipe(method="linear", weights=(1.0,)), 2, "2 parents, but `weights` has 1"),
        (MergeRecipe(method="linear"), 1, "at least two parents"),
        (MergeRecipe(method="peft-dare-ties"), 3, "PEFT cannot merge"),
    ],
)
def test_merges_that_cannot_be(lab: Lab, parents, recipe, count, message):
    with pytest.raises(BadInput, match=message):
        lab.run(MERGE, recipe, tuple(parents[:count]))


def test_parents_on_other_bases_are_refused(lab: Lab, parents):
    other = base_of(lab, seed=1)
    stranger = lab.run(SFT, sft_recipe(), (other,)).parent("merged")
    with pytest.raises(BadInput, match="different bases"):
        lab.run(MERGE, MergeRecipe(method="linear"), (parents[0], stranger))


def test_the_digest_depends_on_names_dtypes_and_values():
    tensor = torch.ones(2, 2)
    digests = {
        tensors_digest({"a": tensor}),
        tensors_digest({"b": tensor}),
        tensors_digest({"a": tensor.half()}),
        tensors_digest({"a": 2 * tensor}),
        tensors_digest({"a": tensor.view(4)}),
    }
    assert len(digests) == 5
