"""The loop of PPO: roll out, measure, estimate, update, log; stop and go on anywhere between two forward passes."""

import time
from dataclasses import replace
from typing import Any

import torch

from workers.checkpoints import new_checkpoint
from workers.context import StageContext, StageStopped
from workers.evaluation.generation import end_tokens
from workers.models.loading import device_of
from workers.ppo import forward
from workers.ppo.backbones import Models, autocast
from workers.ppo.checks import (
    EXACT,
    ROUNDED,
    check_finite,
    check_positions,
    check_response,
    copies,
    moved,
    rollout_gap,
)
from workers.ppo.episodes import Batch, Episode, drawn_log_probabilities, make_batch
from workers.ppo.estimate import estimate
from workers.ppo.measures import Scoring, measure
from workers.ppo.optimizer import Adam, learning_rate
from workers.ppo.prompts import Tokens, prompts_of_step
from workers.ppo.sampling import Sampler, draws
from workers.ppo.shaping import Controller
from workers.ppo.state import State, load_state, save_state
from workers.ppo.update import Experience, Tally, Update
from workers.specs.ppo import PpoRecipe
from workers.training.callbacks import UNTIL, snapshot_directory, write_snapshot


class Loop:
    """One run from its first step, or from a checkpoint, to its end.

    Invariant: stopped anywhere and resumed, it leaves the same bytes as without a stop, at equal fingerprint.

    Raises:
        BadInput: prompt and response do not fit the model.
    """

    def __init__(
        self,
        context: StageContext,
        recipe: PpoRecipe,
        models: Models,
        prompts: list[Tokens],
        end_mark: bool,
    ) -> None:
        check_positions(models.policy, prompts, recipe.rollout.new_tokens)
        self.context, self.recipe, self.models, self.prompts = context, recipe, models, prompts
        self.device = device_of(context)
        self.parameters = models.trained()
        self.adam = Adam(self.parameters, recipe.training)
        self.state = State(coefficient=recipe.regularizer.coefficient)
        self.last: list[Episode] = []
        self.last_scores: list[float] = []
        self._scoring = Scoring(
            recipe.rollout.temperature,
            end_mark,
            recipe.rollout.score_text,
            recipe.estimation.padding == "counted",
            recipe.regularizer.penalty == "js_full",
        )
        self._until: int | None = context.memory.get(UNTIL)
        self._saved = time.monotonic()

    @property
    def label(self) -> int:
        """What the weights of now are called: the finished steps, or one more where labels run ahead."""
        return self.state.step + (self.recipe.training.checkpoint_label == "before_step")

    def restore(self) -> None:
        """Go on from the context's checkpoint, if there is one that serves."""
        early = self._until is not None and self.recipe.training.checkpoint_label == "before_step"
        if self.context.resume_from is not None and not early:
            self.state = load_state(self.context.resume_from, self.parameters, self.adam, self.device)

    def run(self) -> None:
        """Every step that is left.

        Raises:
            StageStopped: the worker was asked to stop; a checkpoint is left.
            Diverged: a figure is not a number.
        """
        steps = self.recipe.training.steps
        self.models.evaluate()
        if not self.state.episodes:
            self._snapshot()
        while self.state.step < steps and not self._reached():
            self._step()
            self.context.progress(self.state.step, steps)
            self._snapshot()
            if self.state.step < steps and not self._reached():
                self._pause(at_end=True)

    def _reached(self) -> bool:
        return self._until is not None and self.label >= self._until

    def _step(self) -> None:
        state, training = self.state, self.recipe.training
        self._roll_out()
        experience, update = self._prepare()
        last = state.step + 1 == training.steps
        if not (last and training.checkpoint_label == "before_step"):
            self._update(experience, update)
        row = {"step": float(state.step + 1), **state.figures, **Tally(state.tally).means()}
        row["learning_rate"] = learning_rate(training, state.step)
        row["coefficient"] = state.coefficient
        state.curves.append(row)
        self.last, self.last_scores = state.episodes, state.tensors["scores"].tolist()
        adaptive = self.recipe.regularizer.adaptive
        if adaptive is not None:
            controller = Controller(adaptive.target, adaptive.gain)
            state.coefficient = controller.next(state.coefficient, state.figures["penalty_sum"])
        state.next_step()
        self.context.report(state.step, {name: row[name] for name in ("score", "true_kl") if name in row})

    # ---- rollout ----------------------------------------------------------------------------------------------------

    def _roll_out(self) -> None:
        """Fill the step's episodes, some at a time."""
        state, rollout = self.state, self.recipe.rollout
        prompts = prompts_of_step(self.prompts, state.step, rollout.batch_size, self.recipe.seed)
        ends = end_tokens(self.models.policy, self.models.tokenizer)
        sampler = Sampler(self.models.policy, ends, rollout.new_tokens, rollout.temperature)
        while len(state.episodes) < rollout.batch_size:
            first = len(state.episodes)
            part = prompts[first : first + self._micro_batch()]
            start = state.step * rollout.batch_size + first
            uniforms = [
                draws(self.recipe.seed, start + place, rollout.new_tokens) for place in range(len(part))
            ]
            with self.context.phase("compute"), self._autocast():
                responses = sampler.sample(part, uniforms)
            drawn = sum(sum(one.log_probabilities) for one in responses)
            check_finite({"the rollout's log-probability": drawn}, state.step + 1)
            state.episodes += [
                Episode(prompt, tuple(one.ids), tuple(one.log_probabilities), one.ended)
                for prompt, one in zip(part, responses, strict=True)
            ]
            self._pause()

    # ---- measurement and update -------------------------------------------------------------------------------------

    def _prepare(self) -> tuple[Experience, Update]:
        """What the update learns from: measured now, or as a checkpoint holds it."""
        state = self.state
        counted = self.recipe.estimation.padding == "counted"
        width = self.recipe.rollout.new_tokens if counted else None
        batch = make_batch(state.episodes, self.models.tokenizer.pad_token_id, self.device, width)
        fresh = not state.tensors
        if fresh:
            with self.context.phase("compute"):
                self._measure(batch)
        kept = state.tensors
        experience = Experience(
            batch, kept["advantages"], kept["returns"], kept["policy"], kept["values"], kept["reference"]
        )
        update = Update(
            self.models,
            self.adam,
            self.recipe,
            experience,
            state.step,
            state.coefficient,
            self._micro_batch(),
        )
        if fresh:
            with self.context.phase("compute"):
                update.recompute()
            kept.update(policy=experience.policy, values=experience.values)
        return experience, update

    def _measure(self, batch: Batch) -> None:
        state, size = self.state, self._micro_batch()
        parts, how = [], replace(self._scoring, whole=self._reads_distributions())
        for first in range(0, len(state.episodes), size):
            rows = slice(first, first + size)
            with self._autocast():
                parts.append(measure(self.models, batch.rows(rows), state.episodes[rows], how))
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        figures, kept = estimate(self.recipe, state.coefficient, batch, found, state.episodes)
        check_finite(figures, state.step + 1)
        if how.whole:
            drawn = drawn_log_probabilities(state.episodes, batch.mask.shape[1]).to(self.device)
            figures["rollout_gap"] = rollout_gap(drawn, found["policy"], batch.mask, self._tolerance())
        state.figures, state.tensors = figures, kept
        state.tokens += int(batch.mask.sum())

    def _reads_distributions(self) -> bool:
        step = self.state.step
        return step == 0 or (step + 1) % self.recipe.rollout.distributions_every == 0

    def _update(self, experience: Experience, update: Update) -> None:
        state = self.state
        self.adam.set_rate(learning_rate(self.recipe.training, state.step))
        adapter = [value for name, value in self.parameters.items() if name.startswith("policy.")]
        before = copies(adapter) if not state.proven and not state.tally else None
        for epoch, number in update.batches[len(state.tally) :]:
            with self.context.phase("compute"):
                figures = update.run(epoch, number)
            state.tally.append(figures)
            if len(state.tally) < len(update.batches):
                self._pause()
        if before is not None and moved(before, adapter):
            self._prove(experience)

    def _prove(self, experience: Experience) -> None:
        """See once in a run that an update changes what the policy says."""
        rows = slice(0, self._micro_batch())
        batch = experience.batch.rows(rows)
        with torch.inference_mode(), self._autocast():
            temperature = self.recipe.rollout.temperature
            now = forward.of_tokens(
                forward.response_log_probabilities(self.models.policy, batch, temperature), batch
            )
        check_response(self.state.tensors["rollout_policy"][rows], now)
        self.state.proven = True

    # ---- stopping and saving ----------------------------------------------------------------------------------------

    def _pause(self, at_end: bool = False) -> None:
        """Save when it is time, and stop when asked to."""
        stop = self.context.stop_requested()
        if stop or self._due(at_end):
            checkpoint = new_checkpoint(self.context.checkpoints, self.state.step)
            with self.context.phase("save"), checkpoint as directory:
                save_state(directory, self.state, self.parameters, self.adam)
            self._saved = time.monotonic()
        if stop:
            raise StageStopped

    def _due(self, at_end: bool) -> bool:
        every = self.context.execution.checkpoint_steps
        if every is not None:
            return at_end and self.state.step % every == 0
        return time.monotonic() - self._saved >= self.context.execution.checkpoint_seconds

    def _snapshot(self) -> None:
        wanted = self.label in self.context.execution.snapshots and self.label < self.recipe.training.steps
        if wanted and not snapshot_directory(self.context.output, self.label).exists():
            with self.context.phase("save"):
                weights: Any = self.models
                write_snapshot(weights, self.context.output, self.label)

    def _micro_batch(self) -> int:
        return min(self.context.execution.micro_batch or 2**31, self.recipe.rollout.batch_size)

    def _tolerance(self) -> float:
        recipe = self.recipe
        whole = recipe.model.dtype == "float32" and recipe.training.autocast == "none"
        exact = whole and recipe.adapter.quantization is None and recipe.training.adapter_dtype == "float32"
        return EXACT if exact else ROUNDED

    def _autocast(self) -> Any:
        return autocast(self.recipe.training.autocast, self.device)
