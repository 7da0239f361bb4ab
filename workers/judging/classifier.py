"""A local sequence-classification or reward model as a judge: one logit for each answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from workers.context import BadInput, StageContext
from workers.evaluation.answers import Answers
from workers.evaluation.batches import batched
from workers.judging.judge import Judge, Opinion, Question
from workers.kinds import unknown
from workers.models.cache import model_cache, tokenizer_cache
from workers.models.loading import device_of
from workers.models.pretrained import MALFORMED, read_pretrained
from workers.models.sources import ModelSource, hub_source
from workers.specs.judge import ClassifierJudge, JudgeRecipe
from workers.specs.model import ModelRecipe

Text = tuple[str, ...]


class Classifier:
    """Scores answers by a logit; of a pair the higher one wins, and a logit below zero is a verdict of harm.

    Deterministic: order and batches follow from the questions, and an answer that occurs in several questions is read
    once. What does not fit is cut, of a pair the longer text first, and said to be cut.
    """

    def __init__(
        self, model: Any, tokenizer: Any, column: int, recipe: JudgeRecipe, context: StageContext
    ) -> None:
        settings = recipe.judge.classifier
        assert settings is not None
        self.settings, self.shape, self.batch_size = settings, recipe.shape, recipe.batch_size
        self.model, self.tokenizer, self.column, self.context = model, tokenizer, column, context
        self.micro_batch = min(context.execution.micro_batch or recipe.batch_size, recipe.batch_size)
        self.max_length = _longest(model, tokenizer, recipe.max_length)

    def opinions(self, questions: Sequence[Question], answers: Answers) -> list[Opinion]:
        """One opinion for each question."""
        texts = [[self._text(question, output) for output in question.outputs] for question in questions]
        scores = self._scores(list(dict.fromkeys(text for pair in texts for text in pair)), answers)
        return [self._opinion([scores[text] for text in pair]) for pair in texts]

    def _text(self, question: Question, output: str) -> Text:
        return (question.prompt, output) if self.settings.inputs == "pair" else (output,)

    def _opinion(self, found: list[tuple[float, bool]]) -> Opinion:
        cut = any(each for _, each in found)
        value = found[0][0]
        if self.shape == "score":
            return Opinion(score=value, cut=cut)
        if self.shape == "verdict":
            return Opinion("yes" if value < 0 else "no", value, cut)
        ahead = value - found[1][0]
        return Opinion("tie" if ahead == 0 else "first" if ahead > 0 else "second", ahead, cut)

    def _scores(self, texts: list[Text], answers: Answers) -> dict[Text, tuple[float, bool]]:
        """Logit of each text, and whether it was cut; longest texts first."""
        ordered = sorted(texts, key=lambda text: (-sum(map(len, text)), text))
        found: dict[Text, tuple[float, bool]] = {}
        for batch in batched(ordered, self.batch_size):
            values = answers.ask(len(batch), partial(self._logits, batch))
            found.update((text, (value, bool(cut))) for text, (value, cut) in zip(batch, values, strict=True))
        return found

    def _logits(self, batch: Sequence[Text]) -> list[list[float]]:
        rows: list[list[float]] = []
        with self.context.phase("compute"), torch.inference_mode():
            for part in batched(batch, self.micro_batch):
                rows += self._part(part)
        return rows

    def _part(self, texts: Sequence[Text]) -> list[list[float]]:
        """[logit, cut] of each text."""
        columns = [list(column) for column in zip(*texts, strict=True)]
        options: dict[str, Any] = {"truncation": "longest_first", "max_length": self.max_length}
        whole = self.tokenizer(*columns, truncation=False)["input_ids"]
        inputs = self.tokenizer(*columns, padding=True, return_tensors="pt", **options)
        logits = self.model(**{name: value.to(self.model.device) for name, value in inputs.items()}).logits
        values = self.settings.sign * logits[:, self.column].double().cpu()
        return [
            [float(value), float(len(ids) > self.max_length)]
            for value, ids in zip(values.tolist(), whole, strict=True)
        ]


@contextmanager
def open_classifier(recipe: JudgeRecipe, context: StageContext) -> Iterator[Judge]:
    """A kept classifier as a judge.

    Raises:
        BadInput: the model is missing or malformed, or has no such label.
    """
    settings = recipe.judge.classifier
    assert settings is not None
    torch.set_num_threads(recipe.threads)
    source, device = hub_source(context, settings.model), device_of(context)
    key = ("classifier", source.key, settings.model.dtype, settings.model.attention, device)
    with context.phase("load"):
        tokenizer = tokenizer_cache(context).get(
            ("classifier", str(source.directory)), lambda: _tokenizer(source)
        )
        model = model_cache(context).get(key, lambda: load_classifier(source, settings.model, device))
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    yield Classifier(model, tokenizer, _column(model, settings, source.name), recipe, context)


def load_classifier(source: ModelSource, recipe: ModelRecipe, device: str) -> Any:
    """A frozen sequence-classification model in evaluation mode, safetensors only, no code of its own.

    Raises:
        BadInput: the files cannot be read as such a model, or lack the weights of its head.
    """
    from transformers import AutoModelForSequenceClassification

    try:
        model, report = read_pretrained(
            AutoModelForSequenceClassification,
            source.directory,
            recipe.dtype,
            device,
            output_loading_info=True,
        )
    except MALFORMED as error:
        raise BadInput(f"model {source.name}: {source.directory} cannot be loaded: {error}") from None
    if report["missing_keys"]:
        raise BadInput(
            f"model {source.name} is no trained classifier: its files lack {', '.join(sorted(report['missing_keys']))}"
        )
    return model.requires_grad_(False).eval()


def _tokenizer(source: ModelSource) -> Any:
    """The classifier's tokenizer with a pad mark, padding right.

    Raises:
        BadInput: there is none, or it has no mark to pad with.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(source.directory), trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise BadInput(f"no tokenizer in {source.directory}: {str(error).splitlines()[0]}") from None
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise BadInput(f"the tokenizer in {source.directory} has neither a pad mark nor an end mark")
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def _column(model: Any, settings: ClassifierJudge, name: str) -> int:
    """The column of logits that is meant.

    Raises:
        BadInput: there are several and none is named, or there is no such label.
    """
    labels = {str(label): int(number) for number, label in model.config.id2label.items()}
    if settings.label is None:
        if len(labels) != 1:
            raise BadInput(f"model {name} has several labels; name one as `label`: {', '.join(labels)}")
        return 0
    if settings.label not in labels:
        raise BadInput(f"model {name}: {unknown('label', settings.label, labels)}")
    return labels[settings.label]


def _longest(model: Any, tokenizer: Any, wanted: int) -> int:
    """The most tokens that the classifier reads: positions of RoBERTa's kind begin after the pad mark."""
    positions = getattr(model.config, "max_position_embeddings", None)
    offset = (
        (model.config.pad_token_id or 0) + 1 if model.config.model_type in ("roberta", "xlm-roberta") else 0
    )
    limits = [wanted, tokenizer.model_max_length, *([positions - offset] if positions else [])]
    return int(min(limits))
