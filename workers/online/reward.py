"""The reward model as a scorer of answers, read as PPO reads it: at the last token of prompt and answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from workers.context import StageContext
from workers.evaluation.batches import Tokens, batched, longest_first, right_padded
from workers.models.loading import load_tokenizer
from workers.models.sources import parent_source
from workers.ppo.backbones import borrowed_reward, check_tokenizers, reward_parent
from workers.ppo.forward import scores
from workers.specs.model import ModelRecipe


class RewardModel:
    """Scores answers, `batch_size` at a time, longest first.

    `end_mark` says that the model was trained to see end marks; else that of an ended answer is left out.
    """

    def __init__(self, model: Any, end_mark: bool, batch_size: int) -> None:
        self.model, self.end_mark, self.batch_size = model, end_mark, batch_size

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[Tokens], answers: Sequence[Tokens], ended: Sequence[bool]
    ) -> list[float]:
        """One score for each answer; the ids of an answer that has `ended` close with its end mark."""
        rows = [
            [*prompt, *(answer if self.end_mark or not end else answer[:-1])]
            for prompt, answer, end in zip(prompts, answers, ended, strict=True)
        ]
        found = [0.0] * len(rows)
        for places in batched(longest_first(rows), self.batch_size):
            for place, value in zip(places, self._batch([rows[place] for place in places]), strict=True):
                found[place] = value
        return found

    def _batch(self, rows: Sequence[Tokens]) -> list[float]:
        device = self.model.device
        last = torch.tensor([len(row) - 1 for row in rows], device=device)
        values: list[float] = scores(self.model, right_padded(rows).to(device), last).tolist()
        return values


@contextmanager
def reward_model(
    context: StageContext, recipe: ModelRecipe, tokenizer: Any, batch_size: int
) -> Iterator[RewardModel]:
    """The model of the parent in role `reward`, kept warm, in the precision of `recipe`.

    Raises:
        BadInput: there is no such parent, it left no model, or its tokenizer is not `tokenizer`.
    """
    parent = reward_parent(context)
    source = parent_source(parent)
    with context.phase("load"):
        check_tokenizers(tokenizer, load_tokenizer(context, source.directory), parent)
    end_mark = bool(getattr(parent.stage.recipe, "end_mark", False))
    with borrowed_reward(context, source, recipe) as model:
        yield RewardModel(model, end_mark, batch_size)
