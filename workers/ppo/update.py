"""PPO's inner loop: some passes over a step's episodes, each optimizer step on a part of them (study, section 5)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from workers.identity import derive_seed
from workers.ppo import forward
from workers.ppo.averages import token_weights
from workers.ppo.backbones import Models, autocast
from workers.ppo.checks import check_finite
from workers.ppo.divergences import FULL
from workers.ppo.episodes import Batch
from workers.ppo.loss import approximate_kl, policy_loss, value_loss
from workers.ppo.optimizer import Adam
from workers.ppo.regularizers import sampled_penalty
from workers.specs.ppo import PpoRecipe

SUMS = ("policy_loss", "value_loss", "penalty_loss", "approximate_kl", "policy_clipped", "value_clipped")


@dataclass
class Experience:
    """What the update learns from, all (episodes, tokens): advantages, returns, and what the rollout measured."""

    batch: Batch
    advantages: torch.Tensor
    returns: torch.Tensor
    policy: torch.Tensor
    values: torch.Tensor
    reference: torch.Tensor


@dataclass
class Tally:
    """Means over the optimizer steps of one PPO step; `steps` holds the figures of each.

    `first_ratio_gap` is the largest `|rho - 1|` of the first one: 0 but for rounding, unless dropout stands between the
    update and what it compares with.
    """

    steps: list[dict[str, float]] = field(default_factory=list)

    def means(self) -> dict[str, float]:
        """The mean of every figure; nothing where no step was made."""
        if not self.steps:
            return {}
        means = {name: sum(one[name] for one in self.steps) / len(self.steps) for name in self.steps[0]}
        return {**means, "first_ratio_gap": self.steps[0]["ratio_gap"]}


class Update:
    """The inner loop of one PPO step.

    Every draw (which episodes share a batch, dropout) follows from the seed, the PPO step and the place in it, so the
    loop can go on after any optimizer step. `micro_batch` computes a batch in parts; it changes dropout masks, and
    without dropout nothing but rounding.
    """

    def __init__(
        self,
        models: Models,
        adam: Adam,
        recipe: PpoRecipe,
        experience: Experience,
        step: int,
        coefficient: float,
        micro_batch: int,
    ) -> None:
        self.models, self.adam, self.recipe, self.experience = models, adam, recipe, experience
        self.step, self.coefficient = step, coefficient
        training = recipe.training
        self.size = training.update_size
        self.micro_batch = min(micro_batch, self.size)
        self.dropout = training.dropout != "off"
        self.matched = training.dropout == "matched" and _has_dropout(recipe)

    @property
    def batches(self) -> list[tuple[int, int]]:
        """(pass, number) of every optimizer step, in order."""
        count = self.recipe.rollout.batch_size // self.size
        return [(epoch, number) for epoch in range(self.recipe.training.epochs) for number in range(count)]

    def run(self, epoch: int, number: int) -> dict[str, float]:
        """One optimizer step; its figures.

        Raises:
            Diverged: one is not a number; the weights are those before.
        """
        repeats = self.recipe.training.repeats if self.recipe.training.accumulation == "repeat" else 1
        places = self._places(epoch, number)
        self.models.train(self.dropout)
        self.adam.forget()
        figures: dict[str, float] = {}
        for repeat in range(repeats):
            figures = self._pass(places, (epoch, number, repeat))
            figures["gradient_norm"] = self.adam.clip()
        check_finite(figures, self.step + 1)
        self.adam.step()
        self.models.evaluate()
        return figures

    def recompute(self) -> None:
        """Replace the rollout's log-probabilities and values by those under the update's own dropout masks."""
        if not self.matched:
            return
        self.models.train(self.dropout)
        old = (torch.empty_like(self.experience.policy), torch.empty_like(self.experience.values))
        with torch.no_grad():
            for number in range(self.recipe.rollout.batch_size // self.size):
                for part, places in self._parts(self._places(0, number)):
                    batch = self.experience.batch.rows(places)
                    old[0][places] = forward.of_tokens(self._policy(batch, (0, number, 0), part), batch)
                    old[1][places] = self._values(batch, (0, number, 0), part)
        self.experience.policy, self.experience.values = old
        self.models.evaluate()

    def _pass(self, places: torch.Tensor, key: tuple[int, int, int]) -> dict[str, float]:
        """Gradients of the loss over `places`, added to those that are there."""
        counted = self._counted(self.experience.batch.mask[places])
        weights = token_weights(counted, self.recipe.training.average)
        sums = dict.fromkeys((*SUMS, "ratio_gap"), 0.0)
        for part, some in self._parts(places):
            rows = slice(part * self.micro_batch, part * self.micro_batch + len(some))
            figures = self._part(some, weights[rows], (key, part))
            for name in SUMS:
                sums[name] += figures[name]
            sums["ratio_gap"] = max(sums["ratio_gap"], figures["ratio_gap"])
        training = self.recipe.training
        total = sums["policy_loss"] + training.value_coefficient * sums["value_loss"] + sums["penalty_loss"]
        return {"loss": total, **sums}

    def _part(
        self, places: torch.Tensor, weights: torch.Tensor, place: tuple[tuple[int, int, int], int]
    ) -> dict[str, float]:
        """Forward and backward of some episodes, first of the policy, then of the value: one graph lives at a time."""
        training, experience = self.recipe.training, self.experience
        batch, (key, part) = experience.batch.rows(places), place
        whole = self._policy(batch, key, part)
        new, old = forward.of_tokens(whole, batch), experience.policy[places]
        policy = policy_loss(new, old, experience.advantages[places], training.policy_clip)
        loss = (policy.loss * weights).sum()
        penalty = self._penalty(whole, new, batch, places, weights)
        torch.autograd.backward(loss + penalty)
        valued = self._values(batch, key, part)
        value = value_loss(valued, experience.values[places], experience.returns[places], training.value_clip)
        value_sum = (value.loss * weights).sum()
        torch.autograd.backward(training.value_coefficient * value_sum)
        with torch.no_grad():
            found = {
                "policy_loss": loss,
                "value_loss": value_sum,
                "penalty_loss": penalty,
                "approximate_kl": (approximate_kl(new, old) * weights).sum(),
                "policy_clipped": (policy.clipped * weights).sum(),
                "value_clipped": (value.clipped * weights).sum(),
                "ratio_gap": ((new - old).exp() - 1.0).abs().max(),
            }
            stacked = torch.stack([tensor.detach().float() for tensor in found.values()]).tolist()
        return dict(zip(found, stacked, strict=True))

    def _penalty(
        self,
        whole: torch.Tensor,
        new: torch.Tensor,
        batch: Batch,
        places: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        """The regularizer's share of the loss; 0 where it is in the reward."""
        regularizer = self.recipe.regularizer
        if regularizer.placement == "reward" or regularizer.penalty == "none":
            return torch.zeros((), device=new.device)
        if regularizer.penalty in FULL:
            with torch.no_grad(), self.models.reference() as reference, self._autocast():
                other = forward.response_log_probabilities(reference, batch, self.recipe.rollout.temperature)
            tokens = FULL[regularizer.penalty](whole, other)
        else:
            tokens = sampled_penalty(regularizer.penalty, new, self.experience.reference[places])
        return self.coefficient * (tokens * weights * batch.mask).sum()

    def _policy(self, batch: Batch, key: tuple[int, int, int], part: int) -> torch.Tensor:
        self._seed_dropout("policy", key, part)
        with self._autocast():
            return forward.response_log_probabilities(
                self.models.policy, batch, self.recipe.rollout.temperature
            )

    def _values(self, batch: Batch, key: tuple[int, int, int], part: int) -> torch.Tensor:
        self._seed_dropout("value", key, part)
        visible = forward.visible_ids(batch) if self.recipe.estimation.padding == "counted" else None
        with self._autocast():
            return forward.values(self.models.value, self.models.head, batch, visible)

    def _seed_dropout(self, model: str, key: tuple[int, int, int], part: int) -> None:
        """Start dropout's stream for one forward pass; `matched` has the same masks in every pass over the episodes."""
        epoch, number, repeat = (0, key[1], 0) if self.matched else key
        if self.dropout:
            use = f"dropout/{self.step}/{epoch}/{number}/{repeat}/{part}/{model}"
            torch.manual_seed(derive_seed(self.recipe.seed, use))

    def _places(self, epoch: int, number: int) -> torch.Tensor:
        """The episodes of a batch; with matched dropout every pass has the same batches, as masks belong to them."""
        use = f"update/{self.step}/{0 if self.matched else epoch}"
        generator = torch.Generator().manual_seed(derive_seed(self.recipe.seed, use))
        order = torch.randperm(self.recipe.rollout.batch_size, generator=generator)
        return order[number * self.size : (number + 1) * self.size].to(self.experience.policy.device)

    def _parts(self, places: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        return enumerate(torch.split(places, self.micro_batch))

    def _counted(self, mask: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(mask) if self.recipe.estimation.padding == "counted" else mask

    def _autocast(self) -> Any:
        return autocast(self.recipe.training.autocast, self.experience.policy.device.type)


def _has_dropout(recipe: PpoRecipe) -> bool:
    value = recipe.value_adapter or recipe.adapter
    return recipe.adapter.dropout > 0 or value.dropout > 0
