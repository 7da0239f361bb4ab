"""TRL's RLOO and GRPO trainers with one mixin: our prompts, draws, scores and measurements, their losses.

Completions are drawn as those of PPO are, without dropout and each by a stream of its own; so a rollout needs no random
state, and its log-probabilities must be the trainer's.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from trl import GRPOTrainer, RLOOTrainer
from trl.trainer.utils import split_tensor_dict

from workers.evaluation.generation import end_tokens
from workers.online.reward import RewardModel
from workers.ppo import forward
from workers.ppo.backbones import autocast
from workers.ppo.checks import EXACT, ROUNDED, check_finite, rollout_gap
from workers.ppo.divergences import entropy, kl_full
from workers.ppo.episodes import Episode, drawn_log_probabilities, make_batch
from workers.ppo.sampling import Sampler, draws
from workers.specs.online import OnlineRecipe
from workers.training.trainers import StageTrainer

EXPERIENCE = "experience.safetensors"
SHOWN = ("kl", "frac_reward_zero_std")
"""Of what TRL logs beside loss, rate and gradient, what is kept, with everything under `clip_ratio/`. The rest repeats
our own figures, or tells the time, in which a resumed run differs.
"""
Ids = Sequence[int]


class OnlineTrainer(StageTrainer):
    """Mixin before one of TRL's online trainers; rows hold a prompt's ids.

    `last` are the episodes of the last generation and `last_scores` their scores. Invariant: stopped between two
    optimizer steps and resumed, a training goes on bit for bit; what was generated for steps to come is in the
    checkpoint.
    """

    processing_class: Any
    _step: int
    _buffered_inputs: Any
    _metrics: Any

    def go_online(self, recipe: OnlineRecipe, reward: RewardModel) -> None:
        """Give the trainer what it draws and scores with, once it has taken its rows."""
        self.recipe, self.reward = recipe, reward
        self.ends = end_tokens(self.model, self.processing_class)
        self.last: list[Episode] = []
        self.last_scores: list[float] = []
        self.sampled_tokens = 0
        self._figures: dict[str, float] = {}

    # ---- drawing and scoring ----------------------------------------------------------------------------------------

    def _tokenize_prompts(self, prompts: list[Ids]) -> tuple[list[Ids], None, dict[str, Any]]:
        """Prompts are tokenized already."""
        return prompts, None, {}

    def _draw(self, prompts: Sequence[Ids]) -> list[list[int]]:
        """A completion of each prompt, its end mark with it."""
        recipe, size = self.recipe, self.args.per_device_train_batch_size
        sampler = Sampler(self.model, self.ends, recipe.max_completion_length, recipe.temperature)
        first = self._step // self._micro_steps * recipe.generated_together
        responses = []
        self.model.eval()
        for start in range(0, len(prompts), size):
            part = prompts[start : start + size]
            numbers = range(first + start, first + start + len(part))
            uniforms = [draws(recipe.seed, number, recipe.max_completion_length) for number in numbers]
            with self._autocast():
                responses += sampler.sample(part, uniforms)
        self.model.train()
        self.last = [
            Episode(tuple(prompt), tuple(one.ids), tuple(one.log_probabilities), one.ended)
            for prompt, one in zip(prompts, responses, strict=True)
        ]
        return [one.ids for one in responses]

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, ids: list[list[int]]
    ) -> torch.Tensor:
        """The reward model's scores, (completions, 1).

        Raises:
            Diverged: a score is not a number.
        """
        with self._autocast():
            scores = self.reward.score(prompts, ids, [one.ended for one in self.last])
        check_finite({"score": sum(scores)}, self.state.global_step + 1)
        self.last_scores = scores
        return torch.tensor(scores, device=self.accelerator.device)[:, None]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        self._figures = self._measured()
        self.sampled_tokens += sum(len(one.response) for one in self.last)
        return output

    def _measured(self) -> dict[str, float]:
        """Figures of the last generation under the policy that drew it: those of a PPO step, and as exact."""
        size = self.args.per_device_train_batch_size
        parts = [self.last[start : start + size] for start in range(0, len(self.last), size)]
        self.model.eval()
        with torch.inference_mode(), self._autocast():
            sums = torch.stack([self._sums(part) for part in parts]).sum(0).tolist()
        self.model.train()
        tokens, count = sum(len(one.response) for one in self.last), len(self.last)
        scores = torch.tensor(self.last_scores, dtype=torch.float64)
        return {
            "score": float(scores.mean()),
            "score_std": float(scores.std(correction=0)),
            "true_kl": sums[0] / tokens,
            "entropy": sums[1] / tokens,
            "rollout_gap": sums[2] / count,
            "response_length": tokens / count,
            "ended": sum(one.ended for one in self.last) / count,
        }

    def _sums(self, episodes: Sequence[Episode]) -> torch.Tensor:
        """Summed true KL and entropy of some episodes' tokens, and their gap to the rollout for each episode."""
        batch = make_batch(episodes, self.processing_class.pad_token_id, str(self.accelerator.device))
        policy = forward.response_log_probabilities(self.model, batch, self.recipe.temperature)
        with self.model.disable_adapter():
            reference = forward.response_log_probabilities(self.model, batch, self.recipe.temperature)
        drawn = drawn_log_probabilities(episodes, batch.mask.shape[1]).to(batch.mask.device)
        gap = rollout_gap(drawn, forward.of_tokens(policy, batch), batch.mask, self._tolerance())
        found = [(figure * batch.mask).sum() for figure in (kl_full(policy, reference), entropy(policy))]
        return torch.stack([*found, torch.tensor(gap * len(episodes), device=found[0].device)]).double()

    # ---- logging and saving -----------------------------------------------------------------------------------------

    def floating_point_ops(self, inputs: Any) -> float:
        """Not counted: what a step computes is mostly not in its inputs."""
        return 0.0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Keep what a step logs, with the figures of its generation where it made one."""
        own = self._metrics["train"]
        for name in list(own):
            if name not in SHOWN and not name.startswith("clip_ratio/"):
                del own[name]
        own.update({name: [value] for name, value in self._figures.items()})
        self._figures = {}
        super().log(logs, start_time)

    def save_more(self, directory: Path) -> None:
        """Write what was generated for steps to come."""
        if self._step % self._micro_steps:
            save_file(_joined(self._buffered_inputs), directory / EXPERIENCE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        directory = Path(resume_from_checkpoint)
        progress = self._read_progress(directory)
        self.sampled_tokens = progress["sampled_tokens"]
        self.last_scores = progress["last_scores"]
        self.last = [
            Episode(tuple(prompt), tuple(response), tuple(drawn), ended)
            for prompt, response, drawn, ended in progress["last"]
        ]
        self._step = int(directory.name) * self.args.gradient_accumulation_steps
        if (directory / EXPERIENCE).is_file():
            tensors = load_file(directory / EXPERIENCE, device=str(self.accelerator.device))
            self._buffered_inputs = split_tensor_dict(tensors, self.args.steps_per_generation)

    def _progress(self) -> dict[str, Any]:
        episodes = [[one.prompt, one.response, one.drawn, one.ended] for one in self.last]
        own = {"sampled_tokens": self.sampled_tokens, "last": episodes, "last_scores": self.last_scores}
        return {**super()._progress(), **own}

    @property
    def _micro_steps(self) -> int:
        """Micro-batches between two generations."""
        return int(self.args.steps_per_generation * self.recipe.num_iterations)

    def _tolerance(self) -> float:
        exact = self.recipe.model.dtype == "float32" and self.recipe.adapter.quantization is None
        return EXACT if exact and self.recipe.training.autocast == "none" else ROUNDED

    def _autocast(self) -> Any:
        name = self.recipe.training.autocast
        return nullcontext() if name == "none" else autocast(name, self.accelerator.device.type)


class StageRlooTrainer(OnlineTrainer, RLOOTrainer):  # type: ignore[misc]
    """TRL's RLOOTrainer."""

    def _generate_single_turn(self, prompt_ids: Sequence[Ids], *others: Any) -> list[list[int]]:
        return self._draw(prompt_ids)


class StageGrpoTrainer(OnlineTrainer, GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer."""

    def _generate_single_turn(self, prompt_ids: Sequence[Ids], *others: Any) -> tuple[list[list[int]], None]:
        return self._draw(prompt_ids), None


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """The tensors of a generation whole; numbers stay numbers."""
    first = parts[0]
    names = [name for name, value in first.items() if isinstance(value, torch.Tensor)]
    return {
        name: torch.cat([part[name] for part in parts]).cpu()
        if first[name].ndim
        else first[name].cpu().clone()
        for name in names
    }
