"""MMLU: four choices, the most probable continuation counts (Hendrycks et al., arXiv 2009.03300).

The data's format decides the convention: JSON lines (the embedded world's) are a cloze, scored on the choices
themselves; the published CSV files and the hub's data set are asked as lm-eval asks, by the letters A-D.
"""

from pathlib import Path

from workers.context import BadInput, metric
from workers.data.rows import read_rows
from workers.evaluation.benchmark import Measurement, Sample, dropped_row, estimate_row
from workers.evaluation.candidate import Candidate
from workers.evaluation.harness import Harness, Item, LocalTask, prepare, template
from workers.evaluation.recall import recalled
from workers.evaluation.sources import Location, Row, csv_rows, hub_rows, locate, required, spread
from workers.evaluation.statistics import mean
from workers.specs.evaluate import Benchmark

FIELDS: dict[str, type | tuple[type, ...]] = {"subject": str, "question": str, "choices": list, "answer": int}
LETTERS = ("A", "B", "C", "D")


def measure(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """Accuracy over all questions (micro, primary), over subjects (macro), and of each subject.

    Raises:
        BadInput: the data is missing or malformed, or has fewer development rows than `shots`.
    """
    location = locate(benchmark.source, candidate.context)
    settings = (benchmark.limit, benchmark.shots, candidate.max_length)
    key = ("mmlu", location.key(), settings, candidate.tokenizer_digest)
    harness = recalled(candidate.context.memory, key, lambda: _prepare(location, benchmark, candidate))
    results = harness.evaluate(candidate)
    accuracies = [item.scores["acc"] for item in harness.items]
    by_subject = {name: mean(task.scores("acc")) for name, task in harness.tasks.items()}
    macro = mean([results[name]["acc,none"] for name in harness.tasks])
    rows = [
        estimate_row("mmlu", "accuracy", mean(accuracies), "share", primary=True),
        metric("mmlu", macro.value, metric="macro", n=macro.n, unit="share"),
        dropped_row("mmlu", harness.dropped, len(accuracies) + harness.dropped),
    ]
    rows += [estimate_row("mmlu", f"subject.{name}", found, "share") for name, found in by_subject.items()]
    return Measurement(rows, [_sample(place, item) for place, item in enumerate(harness.items)])


def _prepare(location: Location, benchmark: Benchmark, candidate: Candidate) -> Harness:
    convention, test, development = questions(location)
    chosen = spread(test, benchmark.limit)
    tasks = {
        subject: LocalTask(
            template(convention, task=subject, num_fewshot=benchmark.shots),
            [row for row in chosen if row["subject"] == subject],
            _shots(subject, development, benchmark.shots, location.name),
        )
        for subject in dict.fromkeys(str(row["subject"]) for row in chosen)
    }
    return prepare(tasks, candidate, new_tokens=0)


def _shots(subject: str, development: list[Row], count: int, name: str) -> list[Row]:
    shots = [row for row in development if row["subject"] == subject][:count]
    if len(shots) < count:
        raise BadInput(f"{name}: {count} shots wanted, but {subject} has {len(shots)} development questions")
    return shots


def questions(location: Location) -> tuple[str, list[Row], list[Row]]:
    """The convention (a template's name), the test rows and the development rows.

    Raises:
        BadInput: the data is missing or malformed.
    """
    lines = location.find("mmlu/test.jsonl", "test.jsonl")
    if lines is not None:
        development = lines.with_name("dev.jsonl")
        shots = list(read_rows(development)) if development.is_file() else []
        return "mmlu_cloze", required(list(read_rows(lines)), FIELDS, str(lines)), shots
    if location.directory is not None and (location.directory / "test").is_dir():
        test, shots = (_csv_split(location.directory, split) for split in ("test", "dev"))
        return "mmlu_letters", required(test, FIELDS, location.name), shots
    test, shots = (hub_rows(location, "all", split) for split in ("test", "dev"))
    return "mmlu_letters", required(test, FIELDS, location.name), shots


def _csv_split(directory: Path, split: str) -> list[Row]:
    """The published layout: `<split>/<subject>_<split>.csv` with question, four choices and a letter."""
    rows: list[Row] = []
    for path in sorted((directory / split).glob(f"*_{split}.csv")):
        subject = path.name.removesuffix(f"_{split}.csv")
        lines = enumerate(csv_rows(path), start=1)
        rows.extend(_csv_row(subject, fields, path, number) for number, fields in lines)
    return rows


def _csv_row(subject: str, fields: list[str], path: Path, number: int) -> Row:
    if len(fields) != 6 or fields[5] not in LETTERS:
        raise BadInput(f"{path}:{number}: needed: a question, four choices and a letter A-D")
    question, *choices, letter = fields
    return {"subject": subject, "question": question, "choices": choices, "answer": LETTERS.index(letter)}


def _sample(place: int, item: Item) -> Sample:
    choices = [continuation.strip() for _, continuation in item.requests]
    best = max(range(len(choices)), key=lambda choice: item.results[choice][0])
    return Sample(
        task="mmlu",
        item=place,
        prompt=item.requests[0][0],
        completion=choices[best],
        reference=choices[item.row["answer"]],
        score=item.scores["acc"],
        verdict="right" if item.scores["acc"] else "wrong",
        generated=False,
    )
