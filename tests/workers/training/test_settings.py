import math

import pytest

from tests.support.training import SFT, Lab, sft_recipe
from workers.identity import derive_seed
from workers.recipe import Execution
from workers.training.arguments import micro_batch, trainer_arguments
from workers.training.callbacks import _last_losses
from workers.training.divergence import divergence


@pytest.mark.parametrize(
    ("batch", "wanted", "size"), [(16, None, 16), (16, 4, 4), (16, 5, 4), (16, 64, 16), (6, 4, 3), (7, 6, 1)]
)
def test_micro_batches_divide_the_batch(batch, wanted, size):
    assert micro_batch(batch, wanted) == size


def test_arguments_keep_the_effective_batch(lab: Lab):
    recipe = sft_recipe()
    context = lab.context(lab.stage(SFT, recipe), (), execution=Execution(device="cpu", micro_batch=2))
    arguments = trainer_arguments(context, recipe, recipe.training)
    assert arguments["per_device_train_batch_size"] * arguments["gradient_accumulation_steps"] == 4
    assert arguments["max_steps"] == recipe.training.steps
    assert arguments["seed"] == derive_seed(0, "initialisation")


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_diverges_at_once(loss):
    assert divergence([1.0, 0.9, loss], 10) == f"diverged at step 3: the loss is {loss}"


def test_a_high_loss_must_last():
    assert divergence([1.0] + [20.0] * 9, 10) is None
    assert "step 11" in divergence([1.0] + [20.0] * 10, 10)
    assert divergence([1.0] + [20.0] * 5 + [5.0] + [20.0] * 9, 10) is None
    assert divergence([], 10) is None


def test_the_last_losses_are_enough_to_judge():
    history = [{"loss": float(step)} for step in range(30)]
    losses = _last_losses(history)
    assert len(losses) == 30
    assert losses[0] == 0.0
    assert losses[-10:] == [float(step) for step in range(20, 30)]
