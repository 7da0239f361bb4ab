"""Quantizers of the training while a model is evaluated."""

from contextlib import ExitStack

import pytest
import torch

from tests.support.training import Lab, pretrain_recipe, short
from workers.context import BadInput
from workers.models.loading import trained_model
from workers.quantization.layers import PLAIN
from workers.quantization.trained import quantizers_of
from workers.recipe import Execution
from workers.specs.evaluate import EVALUATE, EvaluateRecipe
from workers.specs.pretrain import PRETRAIN
from workers.specs.quantized import QuantizedTraining, Quantizer

AS_TRAINED = EvaluateRecipe(quantizers="as-trained")


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture(scope="module")
def parent(lab: Lab):
    coarse = QuantizedTraining(weights=Quantizer(bits=2), activations=Quantizer(axis="tensor"))
    return lab.run(PRETRAIN, pretrain_recipe(training=short(2), quantization=coarse)).parent("trained")


def context_of(lab: Lab, recipe: EvaluateRecipe, parents, **execution):
    stage = lab.stage(EVALUATE, recipe, parents)
    return lab.context(stage, parents, execution=Execution(device="cpu", **execution))


def test_they_are_on_while_asked_for_and_off_afterwards(lab: Lab, parent) -> None:
    tokens = torch.arange(12)[None]
    logits = []
    for recipe in (EvaluateRecipe(), AS_TRAINED, EvaluateRecipe()):
        context = context_of(lab, recipe, (parent,))
        with (
            trained_model(context, recipe.model) as (model, _),
            quantizers_of(recipe, context, model),
            torch.no_grad(),
        ):
            logits.append(model(tokens).logits)
        assert not any(type(module) in PLAIN for module in model.modules()), "a warm worker keeps the model"
    assert torch.equal(logits[0], logits[2])
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_a_model_trained_without_has_none(lab: Lab) -> None:
    plain = lab.run(PRETRAIN, pretrain_recipe(training=short(1))).parent("trained")
    context = context_of(lab, AS_TRAINED, (plain,))
    with trained_model(context, AS_TRAINED.model) as (model, _), quantizers_of(AS_TRAINED, context, model):
        assert not any(type(module) in PLAIN for module in model.modules())


def test_what_cannot_be_is_refused(lab: Lab, parent) -> None:
    for parents, execution, message in (
        ((), {}, "needs a parent in role `trained` of kind `pretrain`"),
        ((parent,), {"micro_batch": 4}, "a micro-batch of 4 would change the figures of `batch_size: 16`"),
    ):
        with ExitStack() as stack, pytest.raises(BadInput, match=message):
            context = context_of(lab, AS_TRAINED, parents, **execution)
            stack.enter_context(quantizers_of(AS_TRAINED, context, torch.nn.Linear(1, 1)))
