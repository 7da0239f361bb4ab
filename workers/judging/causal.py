"""A local language model as a judge: which of the allowed answers does it find most probable?"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from workers.context import BadInput, StageContext
from workers.evaluation.answers import Answers
from workers.evaluation.scoring import Scorer
from workers.judging.instruction import CHOICES, Instruction, label_texts
from workers.judging.judge import Judge, Opinion, Question
from workers.models.loading import borrowed_model
from workers.models.sources import hub_source
from workers.specs.judge import JudgeRecipe


class CausalJudge:
    """Compares summed log-probabilities of the labels after the instruction, in nats; nothing is generated.

    Of a pair only the two letters are compared, and a tie is an exact tie. The score is how much more probable the
    first label is, of a verdict how much more probable `no` is. A question that does not fit the context is unparsed.
    """

    def __init__(
        self, model: Any, tokenizer: Any, recipe: JudgeRecipe, context: StageContext, chat: bool
    ) -> None:
        self.tokenizer = tokenizer
        self.instruction = Instruction(recipe, context)
        self.chat = chat and bool(getattr(tokenizer, "chat_template", None))
        self.max_length = min(recipe.max_length, _context_length(model) or recipe.max_length)
        micro_batch = context.execution.micro_batch
        self._scorer = Scorer(model, recipe.batch_size, micro_batch, lambda: context.phase("compute"))
        texts = label_texts(self.instruction.labels[:2], spaced=not self.chat)
        self._labels = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        if not all(self._labels) or self._labels[0] == self._labels[1]:
            raise BadInput(f"the judge's tokenizer cannot tell its answers apart: {', '.join(texts)}")

    def opinions(self, questions: Sequence[Question], answers: Answers) -> list[Opinion]:
        """One opinion for each question."""
        contexts = [self._encode(self.instruction.render(question)) for question in questions]
        longest = max(map(len, self._labels))
        fitting = [place for place, ids in enumerate(contexts) if len(ids) + longest <= self.max_length]
        requests = [(contexts[place], label) for place in fitting for label in self._labels]
        values = [item.log_probability for item in self._scorer.score(requests, answers)]
        found = [Opinion(cut=True)] * len(questions)
        for place, one, other in zip(fitting, values[0::2], values[1::2], strict=True):
            found[place] = self._opinion(one, other)
        return found

    def _opinion(self, one: float, other: float) -> Opinion:
        if self.instruction.shape == "verdict":
            return Opinion("yes" if one > other else "no", other - one)
        first, second, tie = CHOICES["pairwise"]
        return Opinion(tie if one == other else first if one > other else second, one - other)

    def _encode(self, text: str) -> list[int]:
        if not self.chat:
            return list(self.tokenizer(text)["input_ids"])
        messages = [{"role": "user", "content": text}]
        rendered = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(self.tokenizer(rendered, add_special_tokens=False)["input_ids"])


@contextmanager
def open_causal(recipe: JudgeRecipe, context: StageContext) -> Iterator[Judge]:
    """A kept language model as a judge.

    Raises:
        BadInput: the model or the instruction is missing or malformed.
    """
    settings = recipe.judge.causal
    assert settings is not None
    torch.set_num_threads(recipe.threads)
    source = hub_source(context, settings.model)
    with borrowed_model(context, source, settings.model) as (model, tokenizer):
        yield CausalJudge(model.eval(), tokenizer, recipe, context, settings.chat)


def _context_length(model: Any) -> int | None:
    config = getattr(model.config, "text_config", None) or model.config
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return int(length) if length else None
