"""The optimizer of both adapters and the value head, its rate, and its state as plain tensors."""

import torch
from torch import nn

from workers.specs.ppo import PpoTraining

MOMENTS = ("exp_avg", "exp_avg_sq")


def learning_rate(training: PpoTraining, step: int) -> float:
    """The rate of PPO step `step` (from 0): it rises over the warm-up and falls linearly to 0 at the horizon.

    It is set once per PPO step, whatever the number of optimizer steps in it.
    """
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    horizon = training.horizon or training.steps
    left = (horizon - step) / max(1, horizon - training.warmup_steps)
    return training.learning_rate * max(0.0, left)


class Adam:
    """AdamW over named parameters, one gradient norm for all of them."""

    def __init__(self, parameters: dict[str, nn.Parameter], training: PpoTraining) -> None:
        self.parameters = parameters
        self.training = training
        self._optimizer = torch.optim.AdamW(
            list(parameters.values()),
            lr=training.learning_rate,
            betas=(training.beta1, training.beta2),
            eps=training.epsilon,
            weight_decay=training.weight_decay,
        )

    def set_rate(self, rate: float) -> None:
        """Use `rate` from now on."""
        self._optimizer.param_groups[0]["lr"] = rate

    def clip(self) -> float:
        """Bring the norm of all gradients to at most `max_gradient_norm`; the norm before."""
        norm = torch.nn.utils.clip_grad_norm_(
            self.parameters.values(), self.training.max_gradient_norm, error_if_nonfinite=False
        )
        return float(norm)

    def step(self) -> None:
        """Move the weights and forget the gradients."""
        self._optimizer.step()
        self.forget()

    def forget(self) -> None:
        """Drop every gradient."""
        self._optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Its state by parameter and moment; empty before the first step."""
        state = self._optimizer.state
        return {
            f"{name}/{key}": state[parameter][key].detach().clone().contiguous()
            for name, parameter in self.parameters.items()
            if parameter in state
            for key in (*MOMENTS, "step")
        }

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take back what `tensors` gave."""
        for name, parameter in self.parameters.items():
            if f"{name}/step" in tensors:
                moments = {key: tensors[f"{name}/{key}"].to(parameter.device) for key in MOMENTS}
                self._optimizer.state[parameter] = {**moments, "step": tensors[f"{name}/step"]}
