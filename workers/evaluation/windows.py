"""Perplexity of a whole corpus in windows (quantization study, section 7.1): as published, and corrected."""

import re
from dataclasses import dataclass
from pathlib import Path

from workers.context import BadInput
from workers.data.rows import read_rows
from workers.evaluation.batches import Tokens
from workers.evaluation.benchmark import Measurement, estimate_row
from workers.evaluation.candidate import Candidate
from workers.evaluation.perplexity import corpus_files, exponential_row
from workers.evaluation.recall import recalled
from workers.evaluation.sources import Location, hub_rows, locate, spread
from workers.evaluation.statistics import mean, ratio
from workers.specs.evaluate import Benchmark

TASK = "windowed_perplexity"
FIELDS = ("text", "sentence")
"""Where data sets have their text; the first one that a row has."""
SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Corpus:
    """Windows of a tokenized corpus, each once read and in part predicted, and the number of its words."""

    windows: list[tuple[Tokens, Tokens]]
    words: int

    @property
    def size(self) -> int:
        """How many tokens the windows have."""
        return sum(len(context) + len(predicted) for context, predicted in self.windows)


def measure(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """Perplexity by token (primary), `legacy`, and by word; nats per token. Errors are by window.

    All texts are joined by a blank line and tokenized once; a window is as long as the context and begins
    `stride` tokens after the one before (by default where that ends). `token` is exp of all nats over all predicted
    tokens; `legacy`, the published figure, exp of the unweighted mean of the windows' mean losses.

    Raises:
        BadInput: the data is missing or malformed.
    """
    location = locate(benchmark.source, candidate.context)
    length, stride = candidate.max_length, benchmark.stride or candidate.max_length
    if stride > length:
        raise BadInput(f"a stride of {stride} leaves tokens out of windows of {length}")
    key = (TASK, location.key(), benchmark.limit, length, stride, candidate.tokenizer_digest)
    corpus = recalled(candidate.context.memory, key, lambda: _corpus(location, benchmark, candidate, stride))
    scored = candidate.score(corpus.windows)
    nats = [-each.log_probability for each in scored]
    counts = [float(len(predicted)) for _, predicted in corpus.windows]
    by_token = ratio(nats, counts)
    by_window = mean([each / count for each, count in zip(nats, counts, strict=True)])
    rows = [
        exponential_row(TASK, "token", by_token, primary=True),
        exponential_row(TASK, "legacy", by_window),
        exponential_row(TASK, "word", ratio(nats, [count * corpus.words / sum(counts) for count in counts])),
        estimate_row(TASK, "nats_per_token", by_token, "nats"),
    ]
    return Measurement(rows)


def windows(tokens: Tokens, length: int, stride: int) -> list[tuple[Tokens, Tokens]]:
    """(context, predicted) of every window; each token but a window's first is predicted, and none twice.

    With `stride` equal to `length` no token sees the window before, and the first of each window is not predicted.
    """
    found: list[tuple[Tokens, Tokens]] = []
    done = 0
    for begin in range(0, len(tokens), stride):
        end = min(begin + length, len(tokens))
        first = max(done, begin + 1)
        if first < end:
            found.append((tokens[begin:first], tokens[first:end]))
        done = end
        if end == len(tokens):
            break
    return found


def _corpus(location: Location, benchmark: Benchmark, candidate: Candidate, stride: int) -> Corpus:
    parts = spread(texts(location), benchmark.limit)
    joined = SEPARATOR.join(parts)
    (tokens,) = candidate.encode([joined], special=False)
    found = windows(tokens, candidate.max_length, stride)
    if not found:
        raise BadInput(f"{location.name} holds no text")
    return Corpus(found, len(re.findall(r"\S+", joined)))


def texts(location: Location) -> list[str]:
    """The texts of a source in their order, blank ones too: of its files, of JSON lines, or of the hub's test split.

    A plain text file has one text a line. The test split of a mirror is its Parquet files called `test…`, or in a
    folder `test`.

    Raises:
        BadInput: the data is missing or malformed.
    """
    files = corpus_files(location) or _mirrored(location)
    if files:
        return [text for path in files for text in _file_texts(path)]
    return [_text(row, location.name) for row in hub_rows(location, "default", "test")]


def _mirrored(location: Location) -> list[Path]:
    found = sorted(location.directory.rglob("*.parquet")) if location.directory is not None else []
    tests = [path for path in found if path.name.startswith("test") or path.parent.name == "test"]
    if len({path.parent for path in tests}) > 1:
        raise BadInput(
            f"{location.name} holds several test splits: name the files of one in the source's `files`"
        )
    return tests


def _file_texts(path: Path) -> list[str]:
    if path.suffix == ".txt":
        return path.read_text(encoding="utf-8").split("\n")
    return [_text(row, str(path)) for row in read_rows(path)]


def _text(row: dict[str, object], name: str) -> str:
    found = next((row[field] for field in FIELDS if isinstance(row.get(field), str)), None)
    if found is None:
        raise BadInput(f"{name}: a row has no text; needed: {' or '.join(FIELDS)}")
    return str(found)
