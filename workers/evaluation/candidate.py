"""The model that is examined, with all that a benchmark may use of its surroundings."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from workers.context import StageContext
from workers.evaluation.answers import Answers
from workers.evaluation.batches import Tokens
from workers.evaluation.generation import Choose, Completion, Generator, greedy
from workers.evaluation.scoring import Scored, Scorer
from workers.specs.evaluate import EvaluateRecipe
from workers.specs.generate import GenerateRecipe


@dataclass
class Candidate:
    """A model in evaluation mode, its tokenizer and the recipe of its examination.

    `answers` are those of the benchmark that is running; the stage puts fresh ones for each. `prefix` is the
    token that stands before a text when the model reads it from its start: the beginning mark, or the end
    mark of a tokenizer without one.
    """

    model: Any
    tokenizer: Any
    recipe: EvaluateRecipe | GenerateRecipe
    context: StageContext
    answers: Answers = field(default_factory=Answers)

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self.model, self.recipe.batch_size, self.context.execution.micro_batch, self._compute)

    @cached_property
    def _generator(self) -> Generator:
        micro_batch = self.context.execution.micro_batch
        return Generator(self.model, self.tokenizer, self.recipe.batch_size, micro_batch, self._compute)

    def _compute(self) -> Any:
        return self.context.phase("compute")

    def score(self, requests: list[tuple[Tokens, Tokens]]) -> list[Scored]:
        """Log-probabilities of (context, continuation) requests; see `Scorer.score`."""
        return self._scorer.score(requests, self.answers)

    def complete(
        self,
        prompts: list[Tokens],
        new_tokens: int,
        until: tuple[str, ...] = (),
        choose: Choose = greedy,
    ) -> list[Completion]:
        """Completions, greedy unless `choose` draws them; see `Generator.complete`."""
        return self._generator.complete(prompts, new_tokens, self.answers, until, choose)

    @cached_property
    def max_length(self) -> int:
        """The most tokens a prompt and its continuation may have: the recipe's, or the model's if fewer."""
        config = getattr(self.model.config, "text_config", None) or self.model.config
        context = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
        return min(self.recipe.max_length, context or self.recipe.max_length)

    @property
    def prefix(self) -> int:
        """The id of the beginning mark, else of the end mark."""
        start = self.tokenizer.bos_token_id
        return int(start if start is not None else self.tokenizer.eos_token_id)

    @cached_property
    def tokenizer_digest(self) -> str:
        """A hash of everything in the tokenizer that turns text into ids."""
        return tokenizer_digest(self.tokenizer)

    def encode(self, texts: list[str], special: bool | None = None) -> list[list[int]]:
        """Ids of each text. `special` adds the tokenizer's own marks; None: unless the text opens with one.

        The rule for None is lm-eval's `HFLM.tok_encode`.
        """
        mark = self.tokenizer.decode(self.prefix)
        if special is not None or not any(text.startswith(mark) for text in texts):
            return self._encode(texts, special is not False)
        marked = iter(self._encode([text for text in texts if text.startswith(mark)], False))
        plain = iter(self._encode([text for text in texts if not text.startswith(mark)], True))
        return [next(marked if text.startswith(mark) else plain) for text in texts]

    def _encode(self, texts: list[str], special: bool) -> list[list[int]]:
        if not texts:
            return []
        encoded = self.tokenizer(texts, add_special_tokens=special, return_attention_mask=False)
        return list(encoded["input_ids"])


def tokenizer_digest(tokenizer: Any) -> str:
    """A hash of a tokenizer's content; remembered on the object, since a large vocabulary takes a while."""
    known = getattr(tokenizer, "_yates_digest", None)
    if isinstance(known, str):
        return known
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    marks = repr((type(tokenizer).__name__, tokenizer.special_tokens_map))
    digest = hashlib.sha256(f"{marks}\n{content}".encode()).hexdigest()
    tokenizer._yates_digest = digest
    return digest
