"""Safety and helpfulness: answers to prompts in the chat template, judged by rule.

The rules are the embedded world's (`workers.world.safety`): closed word lists, exact on that world's answers
and a crude proxy on any other text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workers.data.rows import read_rows
from workers.evaluation.benchmark import Measurement, Sample, dropped_row, estimate_row
from workers.evaluation.candidate import Candidate
from workers.evaluation.completions import shape_rows
from workers.evaluation.generation import Completion
from workers.evaluation.recall import recalled
from workers.evaluation.sources import Location, Row, locate, required, spread
from workers.evaluation.statistics import mean
from workers.evaluation.templates import prompt_tokens
from workers.specs.evaluate import Benchmark
from workers.world.safety import is_helpful, is_refusal, is_safe, toxicity

Field = dict[str, type | tuple[type, ...]]


@dataclass(frozen=True)
class Prompted:
    """Rows with their rendered prompts' tokens, and how many rows did not fit."""

    rows: list[Row]
    prompts: list[list[int]]
    dropped: int

    @property
    def size(self) -> int:
        """How many tokens the prompts have."""
        return sum(map(len, self.prompts))


def measure_safety(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """The share of answers to toxic prompts that is safe (primary), refusals, toxicity, and their shape.

    Raises:
        BadInput: the prompts are missing or malformed.
    """
    prompted, completions = _answers("safety", "toxic", {"prompt": str}, benchmark, candidate)
    safe = [is_safe(completion.text) for completion in completions]
    refused = [is_refusal(completion.text) for completion in completions]
    rows = [
        estimate_row("safety", "safe", mean([float(value) for value in safe]), "share", primary=True),
        estimate_row("safety", "refusal", mean([float(value) for value in refused]), "share"),
        estimate_row("safety", "toxicity", mean([toxicity(item.text) for item in completions]), "share"),
        *shape_rows("safety", completions),
        dropped_row("safety", prompted.dropped, len(prompted.rows) + prompted.dropped),
    ]
    verdicts = ["safe" if value else "unsafe" for value in safe]
    return Measurement(rows, _samples("safety", prompted, completions, verdicts, "safe"))


def measure_helpfulness(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """The share of answers to benign prompts that state the reference (primary), refusals, and their shape.

    Raises:
        BadInput: the prompts are missing or malformed.
    """
    fields: Field = {"prompt": str, "reference": str}
    prompted, completions = _answers("helpfulness", "helpful", fields, benchmark, candidate)
    pairs = list(zip(completions, prompted.rows, strict=True))
    helpful = [is_helpful(completion.text, str(row["reference"])) for completion, row in pairs]
    refused = [is_refusal(completion.text) for completion in completions]
    rows = [
        estimate_row(
            "helpfulness", "helpful", mean([float(value) for value in helpful]), "share", primary=True
        ),
        estimate_row("helpfulness", "refusal", mean([float(value) for value in refused]), "share"),
        *shape_rows("helpfulness", completions),
        dropped_row("helpfulness", prompted.dropped, len(prompted.rows) + prompted.dropped),
    ]
    verdicts = ["helpful" if value else "unhelpful" for value in helpful]
    return Measurement(rows, _samples("helpfulness", prompted, completions, verdicts, "helpful"))


def _answers(
    task: str, folder: str, fields: Field, benchmark: Benchmark, candidate: Candidate
) -> tuple[Prompted, list[Completion]]:
    location = locate(benchmark.source, candidate.context)
    template = candidate.recipe.template.model_dump_json()
    settings = (benchmark.limit, benchmark.new_tokens, candidate.max_length, template)
    key = (task, location.key(), settings, candidate.tokenizer_digest)
    prepare: Callable[[], Prompted] = lambda: _prepare(location, folder, fields, benchmark, candidate)  # noqa: E731
    prompted = recalled(candidate.context.memory, key, prepare)
    return prompted, candidate.complete(list(prompted.prompts), benchmark.new_tokens)


def _prepare(
    location: Location, folder: str, fields: Field, benchmark: Benchmark, candidate: Candidate
) -> Prompted:
    """Rows of `<folder>/test.jsonl` (or the source's own files) whose prompt and answer fit the context."""
    names = location.source.files or (f"{folder}/test.jsonl", "test.jsonl")
    path = location.file(*names)
    rows = spread(required(list(read_rows(path)), fields, str(path)), benchmark.limit)
    prompts = prompt_tokens([str(row["prompt"]) for row in rows], candidate)
    fits = [len(prompt) + benchmark.new_tokens <= candidate.max_length for prompt in prompts]
    kept = [pair for pair, fit in zip(zip(rows, prompts, strict=True), fits, strict=True) if fit]
    return Prompted([row for row, _ in kept], [prompt for _, prompt in kept], fits.count(False))


def _samples(
    task: str, prompted: Prompted, completions: Sequence[Completion], verdicts: Sequence[str], good: str
) -> list[Sample]:
    items = zip(prompted.rows, completions, verdicts, strict=True)
    return [
        Sample(
            task=task,
            item=place,
            prompt=str(row["prompt"]),
            completion=completion.text,
            reference=str(row["reference"]) if "reference" in row else None,
            score=float(verdict == good),
            verdict=verdict,
            generated=True,
        )
        for place, (row, completion, verdict) in enumerate(items)
    ]
