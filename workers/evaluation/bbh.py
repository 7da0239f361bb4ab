"""BIG-Bench Hard, direct answers by greedy generation (Suzgun et al., arXiv 2210.09261).

Published tasks are asked with lm-eval's description and three fixed examples each. JSON lines, such as the
embedded world's, are asked in the world's form; their examples are the first rows of a task, which are then
not asked.
"""

import json
from pathlib import Path

import lm_eval.tasks
import yaml

from workers.context import BadInput
from workers.data.rows import read_rows
from workers.evaluation.benchmark import Measurement, Sample, dropped_row, estimate_row
from workers.evaluation.candidate import Candidate
from workers.evaluation.harness import Harness, Item, LocalTask, prepare, template
from workers.evaluation.recall import recalled
from workers.evaluation.sources import Location, Row, hub_rows, locate, required, spread
from workers.evaluation.statistics import Estimate, mean
from workers.kinds import unknown
from workers.specs.evaluate import Benchmark

FIELDS: dict[str, type | tuple[type, ...]] = {"task": str, "input": str, "target": str}
DEFINITIONS = Path(next(iter(lm_eval.tasks.__path__))) / "bbh" / "fewshot"
"""lm-eval's description and examples of each published task."""


def measure(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """Exact match over all items (micro, primary) and over tasks (macro), and the share that starts right.

    Raises:
        BadInput: the data is missing or malformed, or more shots are wanted than there are.
    """
    location = locate(benchmark.source, candidate.context)
    settings = (benchmark.limit, benchmark.shots, benchmark.new_tokens)
    key = ("bbh", location.key(), settings, candidate.max_length, candidate.tokenizer_digest)
    harness = recalled(candidate.context.memory, key, lambda: _prepare(location, benchmark, candidate))
    harness.evaluate(candidate)
    items = harness.items
    exact = mean([item.scores["exact_match"] for item in items])
    by_task = {name: mean(task.scores("exact_match")) for name, task in harness.tasks.items()}
    starts = mean([float(_starts_right(item)) for item in items])
    rows = [
        estimate_row("bbh", "exact_match", exact, "share", primary=True),
        estimate_row("bbh", "macro", _macro(list(by_task.values())), "share"),
        estimate_row("bbh", "starts_with", starts, "share"),
        dropped_row("bbh", harness.dropped, len(items) + harness.dropped),
    ]
    rows += [estimate_row("bbh", f"task.{name}", found, "share") for name, found in by_task.items()]
    return Measurement(rows, [_sample(place, item) for place, item in enumerate(items)])


def _macro(tasks: list[Estimate]) -> Estimate:
    """The mean of task means; its error is that of the items inside tasks, `sqrt(sum s_t^2) / T`."""
    values = [task.value for task in tasks if task.value is not None]
    if not values:
        return Estimate(None, None, 0)
    errors = [task.stderr for task in tasks]
    known = [error for error in errors if error is not None]
    stderr = sum(error**2 for error in known) ** 0.5 / len(values) if len(known) == len(values) else None
    return Estimate(sum(values) / len(values), stderr, len(values))


def _starts_right(item: Item) -> bool:
    return str(item.results[0]).startswith(str(item.row["target"]))


def _prepare(location: Location, benchmark: Benchmark, candidate: Candidate) -> Harness:
    published, rows = problems(location)
    names = list(dict.fromkeys(str(row["task"]) for row in rows))
    shots = {name: [] if published else _first(rows, name, benchmark.shots, location.name) for name in names}
    asked = spread([row for row in rows if row not in shots[row["task"]]], benchmark.limit)
    tasks = {
        name: LocalTask(_definition(name, benchmark, published), _of_task(asked, name), shots[name])
        for name in dict.fromkeys(str(row["task"]) for row in asked)
    }
    return prepare(tasks, candidate, benchmark.new_tokens)


def _of_task(rows: list[Row], task: str) -> list[Row]:
    return [row for row in rows if row["task"] == task]


def _first(rows: list[Row], task: str, count: int, name: str) -> list[Row]:
    mine = _of_task(rows, task)
    if len(mine) <= count:
        raise BadInput(f"{name}: {count} shots leave nothing of {task} to ask, which has {len(mine)} items")
    return mine[:count]


def _definition(name: str, benchmark: Benchmark, published: bool) -> dict[str, object]:
    """lm-eval's configuration of a task.

    Raises:
        BadInput: a published task that lm-eval does not know, or fewer examples than `shots`.
    """
    base = template("bbh_direct" if published else "bbh_question", task=name, num_fewshot=benchmark.shots)
    base["generation_kwargs"]["max_gen_toks"] = benchmark.new_tokens
    if not published:
        return base
    path = DEFINITIONS / f"{name}.yaml"
    if not path.is_file():
        raise BadInput(unknown("bbh task", name, _published_names()))
    known = yaml.safe_load(path.read_text(encoding="utf-8"))
    samples = known["fewshot_config"]["samples"]
    if benchmark.shots > len(samples):
        raise BadInput(f"bbh: {benchmark.shots} shots wanted, but {name} has {len(samples)} examples")
    fewshot = {"sampler": "first_n", "samples": samples}
    return {**base, "description": known["description"], "fewshot_config": fewshot}


def _published_names() -> list[str]:
    return sorted(path.stem for path in DEFINITIONS.glob("[!_]*.yaml"))


def problems(location: Location) -> tuple[bool, list[Row]]:
    """Whether the tasks are the published ones, and their rows.

    Raises:
        BadInput: the data is missing or malformed.
    """
    lines = location.find("bbh/test.jsonl", "test.jsonl")
    if lines is not None:
        return False, required(list(read_rows(lines)), FIELDS, str(lines))
    files = sorted(location.directory.glob("*.json")) if location.directory is not None else []
    if files:
        return True, required([row for path in files for row in _file_rows(path)], FIELDS, location.name)
    rows = [{"task": name, **row} for name in _published_names() for row in hub_rows(location, name, "test")]
    return True, required(rows, FIELDS, location.name)


def _file_rows(path: Path) -> list[Row]:
    """The published layout: `<task>.json` with `examples` of `input` and `target`."""
    try:
        examples = json.loads(path.read_text(encoding="utf-8"))["examples"]
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{path}: needed: a JSON object with `examples`") from None
    return [{"task": path.stem, "input": row.get("input"), "target": row.get("target")} for row in examples]


def _sample(place: int, item: Item) -> Sample:
    return Sample(
        task="bbh",
        item=place,
        prompt=item.requests[0][0],
        completion=str(item.results[0]),
        reference=str(item.row["target"]),
        score=item.scores["exact_match"],
        verdict="right" if item.scores["exact_match"] else "wrong",
        generated=True,
    )
