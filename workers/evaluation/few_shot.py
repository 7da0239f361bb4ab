"""Few-shot accuracy of pre-trained models, as lm-eval asks (quantization study, section 7.2).

Every candidate answer is scored by the sum of its tokens' log-probabilities, the most probable one counts; there is
no description and no fine-tuning. A context that does not fit is cut from the left. The tasks named `…_legacy` repeat
what the study's own scorer did wrong: see `LEGACY`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from results.records import MetricRow
from workers.context import BadInput, metric
from workers.data.rows import read_rows
from workers.evaluation.benchmark import Measurement, Sample, estimate_row
from workers.evaluation.candidate import Candidate
from workers.evaluation.harness import Harness, HarnessModel, Item, LocalTask, template
from workers.evaluation.recall import recalled
from workers.evaluation.sources import Location, Row, hub_rows, locate, required, spread
from workers.evaluation.statistics import mean
from workers.specs.evaluate import Benchmark

SUFFIX = "_legacy"
SHOTS = "train"
Fields = dict[str, type | tuple[type, ...]]


@dataclass(frozen=True)
class PublishedSet:
    """Where a published set has its items, what each must hold, and how it becomes lm-eval's row.

    `configuration` and `split` are the hub's; `template` is the lm-eval definition, by default of the task's name.
    """

    configuration: str
    split: str
    fields: Fields
    template: str | None = None
    convert: Callable[[Row], Row] = dict


def _arc_row(row: Row) -> Row:
    choices = row["choices"]
    options = [str(option) for option in choices["text"]]
    return {
        "question": row["question"],
        "options": options,
        "lowered": [option[:1].lower() + option[1:] for option in options],
        "answer": list(choices["label"]).index(row["answerKey"]),
    }


def _hellaswag_row(row: Row) -> Row:
    from lm_eval.tasks.hellaswag.utils import preprocess

    begun = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    options = [preprocess(ending) for ending in row["endings"]]
    return {"query": preprocess(begun), "options": options, "answer": int(row["label"])}


PAIR: Fields = {"sentence1": str, "sentence2": str, "label": int}
ARC: Fields = {"question": str, "choices": dict, "answerKey": str}
SWAG: Fields = {"activity_label": str, "ctx_a": str, "ctx_b": str, "endings": list, "label": (int, str)}
TESTS: dict[str, PublishedSet] = {
    "mnli": PublishedSet("mnli", "validation_matched", {"premise": str, "hypothesis": str, "label": int}),
    "mrpc": PublishedSet("mrpc", "validation", PAIR),
    "rte": PublishedSet("rte", "validation", PAIR),
    "qnli": PublishedSet("qnli", "validation", {"question": str, "sentence": str, "label": int}),
    "sst2": PublishedSet("sst2", "validation", {"sentence": str, "label": int}),
    "wnli": PublishedSet("wnli", "validation", PAIR),
    "arc_easy": PublishedSet("ARC-Easy", "validation", ARC, "arc", _arc_row),
    "arc_challenge": PublishedSet("ARC-Challenge", "validation", ARC, "arc", _arc_row),
    "hellaswag": PublishedSet("default", "validation", SWAG, convert=_hellaswag_row),
    "lambada": PublishedSet("default", "test", {"text": str}),
}
LEGACY: dict[str, dict[str, Any]] = {
    "mrpc": {"target_delimiter": "", "fewshot_config": {"target_delimiter": " "}},
    "qnli": {"doc_to_choice": ["True", "False"], "fewshot_config": {"doc_to_choice": ["Yes", "No"]}},
    "wnli": {"doc_to_choice": ["True", "Neither", "False"]},
    "arc_easy": {"doc_to_choice": "lowered", "fewshot_config": {"doc_to_choice": "options"}},
    "arc_challenge": {"doc_to_choice": "lowered", "fewshot_config": {"doc_to_choice": "options"}},
}
"""What the study's scorer did (section 7.2): MRPC's candidates lack the space that the examples have; QNLI's examples
say Yes or No and True or False is scored; WNLI has a third option and the labels of MNLI; ARC's candidates begin in
lower case and the examples do not."""


def measure(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """Accuracy (primary; the error is by item), over the draws of examples their mean and `draw_deviation`.

    `draws` are the seeds with which `shots` examples are drawn anew for every item; without them the first ones
    stand before all items. `cut` counts the requests whose context did not fit.

    Raises:
        BadInput: the data is missing or malformed, or has fewer training rows than `shots`.
    """
    location = locate(benchmark.source, candidate.context)
    accuracies: list[list[float]] = []
    others: dict[str, list[float]] = {}
    cut = 0
    samples: list[Sample] = []
    for seed in benchmark.draws or (None,):
        asked = _asked(location, benchmark, candidate, seed)
        results = asked.harness.evaluate(candidate)[benchmark.task]
        accuracies.append([item.scores["acc"] for item in asked.harness.items])
        if "f1,none" in results:
            others.setdefault("f1", []).append(float(results["f1,none"]))
        cut += asked.cut
        samples = samples or [_sample(benchmark.task, *pair) for pair in enumerate(asked.harness.items)]
    return Measurement(_rows(benchmark.task, accuracies, others, cut), samples)


@dataclass(frozen=True)
class Asked:
    """A set as it is asked, and how many of its requests were cut."""

    harness: Harness
    cut: int

    @property
    def size(self) -> int:
        """How many tokens the requests have."""
        return self.harness.size


def _asked(location: Location, benchmark: Benchmark, candidate: Candidate, seed: int | None) -> Asked:
    settings = (benchmark.limit, benchmark.shots, seed, candidate.max_length)
    key = (benchmark.task, location.key(), settings, candidate.tokenizer_digest)
    return recalled(candidate.context.memory, key, lambda: _prepare(location, benchmark, candidate, seed))


def _prepare(location: Location, benchmark: Benchmark, candidate: Candidate, seed: int | None) -> Asked:
    name = benchmark.task.removesuffix(SUFFIX)
    test = TESTS[name]
    rows = spread(rows_of(location, name, test.split), benchmark.limit)
    shots = rows_of(location, name, SHOTS) if benchmark.shots else []
    if len(shots) < benchmark.shots:
        raise BadInput(f"{location.name}: {benchmark.shots} shots wanted, but {name} has {len(shots)}")
    task = LocalTask(_definition(benchmark, test, seed), rows, shots)
    if seed is not None:
        task.set_fewshot_seed(seed)
    encoded: dict[Any, Any] = {}
    instances = [request for group in task.requests() for request in group]
    HarnessModel(candidate, encoded).encode_requests(instances)
    cut = shorten(encoded, candidate.max_length)
    return Asked(Harness({benchmark.task: task}, encoded, 0), cut)


def _definition(benchmark: Benchmark, test: PublishedSet, seed: int | None) -> dict[str, Any]:
    """lm-eval's task; a legacy one differs in its candidates."""
    name = benchmark.task.removesuffix(SUFFIX)
    others = LEGACY[name] if benchmark.task != name else {}
    sampler = {"sampler": "first_n" if seed is None else "default"}
    examples = {**others.get("fewshot_config", {}), **sampler}
    settings = {**others, "task": benchmark.task, "num_fewshot": benchmark.shots, "fewshot_config": examples}
    return template(test.template or name, **settings)


def rows_of(location: Location, name: str, split: str) -> list[Row]:
    """A split as lm-eval's rows: JSON lines `<task>/<split>.jsonl`, else the hub's data set.

    Raises:
        BadInput: it is missing or malformed.
    """
    test = TESTS[name]
    local = location.find(f"{name}/{split}.jsonl", f"{split}.jsonl", f"{name}_{split}.jsonl")
    found = list(read_rows(local)) if local is not None else hub_rows(location, test.configuration, split)
    whole = required(found, test.fields, f"{location.name} ({name}, {split})")
    try:
        return [test.convert(row) for row in whole]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{location.name} ({name}, {split}): a malformed row ({error!r})") from None


def shorten(encoded: dict[Any, Any], longest: int) -> int:
    """Cut contexts from the left until context and answer have `longest` tokens beside the last; how many were."""
    count = 0
    for request, (context, answer) in encoded.items():
        room = max(1, longest + 1 - len(answer))
        if len(context) > room:
            encoded[request] = (context[-room:], answer)
            count += 1
    return count


def _rows(
    task: str, accuracies: list[list[float]], others: dict[str, list[float]], cut: int
) -> list[MetricRow]:
    by_item = [sum(item) / len(item) for item in zip(*accuracies, strict=True)]
    rows = [estimate_row(task, "accuracy", mean(by_item), "share", primary=True)]
    found = mean([sum(draw) / len(draw) for draw in accuracies])
    if found.stderr is not None:
        deviation = found.stderr * found.n**0.5
        rows.append(metric(task, deviation, metric="draw_deviation", n=found.n, unit="share"))
    for name, values in others.items():
        rows.append(metric(task, sum(values) / len(values), metric=name, n=len(values), unit="share"))
    return [*rows, metric(task, cut, metric="cut", n=len(by_item) * len(accuracies), unit="requests")]


def _sample(task: str, place: int, item: Item) -> Sample:
    candidates = [continuation.strip() for _, continuation in item.requests]
    single = len(candidates) == 1
    best = max(range(len(candidates)), key=lambda choice: item.results[choice][0])
    return Sample(
        task=task,
        item=place,
        prompt=item.requests[0][0],
        completion="" if single and not item.scores["acc"] else candidates[best],
        reference=candidates[0] if single else None,
        score=item.scores["acc"],
        verdict="right" if item.scores["acc"] else "wrong",
        generated=False,
    )
