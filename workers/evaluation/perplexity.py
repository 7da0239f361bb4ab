"""Perplexity of held-out text, each document scored on its own after the beginning mark."""

import math
import re
from pathlib import Path

from results.records import MetricRow
from workers.context import metric
from workers.data.rows import read_rows
from workers.evaluation.benchmark import Measurement, estimate_row
from workers.evaluation.candidate import Candidate
from workers.evaluation.harness import Harness, LocalTask, prepare, template
from workers.evaluation.recall import recalled
from workers.evaluation.sources import Location, Row, hub_rows, locate, required, spread
from workers.evaluation.statistics import Estimate, ratio
from workers.specs.evaluate import Benchmark

FIELDS: dict[str, type | tuple[type, ...]] = {"text": str}
NAMES = ("pretrain/validation.jsonl", "validation.jsonl", "test.jsonl")


def measure(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """Perplexity by token (primary) and by word, nats per token and bits per byte; errors are by document.

    Words are those of lm-eval, separated by white space. Figures by token compare models of one tokenizer.

    Raises:
        BadInput: the data is missing or malformed.
    """
    location = locate(benchmark.source, candidate.context)
    key = ("perplexity", location.key(), benchmark.limit, candidate.max_length, candidate.tokenizer_digest)
    harness = recalled(candidate.context.memory, key, lambda: _prepare(location, benchmark, candidate))
    harness.evaluate(candidate)
    items = harness.items
    texts = [str(item.row["text"]) for item in items]
    nats = [-float(item.results[0]) for item in items]
    by_token = ratio(nats, [len(harness.encoded[text]) for text in texts])
    by_word = ratio(nats, [len(re.split(r"\s+", text)) for text in texts])
    by_byte = ratio([value / math.log(2) for value in nats], [len(text.encode()) for text in texts])
    rows = [
        exponential_row("perplexity", "token", by_token, primary=True),
        exponential_row("perplexity", "word", by_word),
        estimate_row("perplexity", "nats_per_token", by_token, "nats"),
        estimate_row("perplexity", "bits_per_byte", by_byte, "bits"),
    ]
    return Measurement(rows)


def exponential_row(task: str, name: str, rate: Estimate, primary: bool = False) -> MetricRow:
    """exp of nats per unit; its error by the delta method."""
    if rate.value is None or rate.value > 700:
        return metric(task, None, metric=name, n=rate.n, primary=primary)
    value = math.exp(rate.value)
    stderr = value * rate.stderr if rate.stderr is not None else None
    return metric(task, value, metric=name, stderr=stderr, n=rate.n, primary=primary)


def _prepare(location: Location, benchmark: Benchmark, candidate: Candidate) -> Harness:
    rows = spread(documents(location), benchmark.limit)
    return prepare({"perplexity": LocalTask(template("perplexity"), rows)}, candidate, new_tokens=0)


def documents(location: Location) -> list[Row]:
    """Rows with `text`: JSON lines, plain text files named in the source's `files`, or a hub data set.

    Plain text is one document for each paragraph (lines up to a blank line). Rows without words are left out.

    Raises:
        BadInput: the data is missing or malformed.
    """
    files = corpus_files(location)
    rows = (
        [row for path in files for row in _file_rows(path)]
        if files
        else hub_rows(location, "default", "test")
    )
    return [row for row in required(rows, FIELDS, location.name) if row["text"].strip()]


def corpus_files(location: Location) -> list[Path]:
    """The files that the source names, else the one of a usual name, if there is one.

    Raises:
        BadInput: a file that the source names is missing.
    """
    files = [location.file(name) for name in location.source.files]
    usual = location.find(*NAMES)
    return [usual] if not files and usual is not None else files


def _file_rows(path: Path) -> list[Row]:
    if path.suffix == ".jsonl":
        return list(read_rows(path))
    return [{"text": part.strip()} for part in re.split(r"\n\s*\n", path.read_text(encoding="utf-8"))]
