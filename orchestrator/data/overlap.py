"""What the training prompts of a plan share with its evaluation sets; counts alone, no text."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.data.surroundings import surroundings
from workers.context import BadInput, StageContext
from workers.recipe import Recipe
from workers.specs.data import PreferenceData

if TYPE_CHECKING:
    from orchestrator.plan import Plan
    from workers.data.overlap import Overlap

FOLDERS = {"safety": "toxic", "helpfulness": "helpful"}
"""Where the prompts of a benchmark lie, if not under its name."""

Texts = Callable[[StageContext], Sequence[str]]


@dataclass(frozen=True)
class OverlapRow:
    """One training set against one evaluation set."""

    training: str
    prompts: int
    evaluation: str
    overlap: "Overlap"

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "training": self.training,
            "prompts": self.prompts,
            "evaluation": self.evaluation,
            **vars(self.overlap),
        }


@dataclass
class OverlapReport:
    """Every pair of sets, and the sets that could not be read."""

    rows: list[OverlapRow]
    problems: list[str]


def overlap_report(plan: "Plan", length: int) -> OverlapReport:
    """Training prompts as drawn for the lowest seed, against all items of each evaluation set of the plan."""
    from workers.data.overlap import overlaps
    from workers.data.selection import selected_pairs

    report = OverlapReport([], [])
    if not plan.stages:
        return report
    with surroundings(plan, 0) as context:
        evaluations = _read_evaluations(plan, context, report.problems)
        for name, (data, seed) in _training_sets(plan).items():
            try:
                pairs, _ = selected_pairs(context, data, "train", seed)
            except BadInput as error:
                report.problems.append(f"training {name}: {error}")
                continue
            prompts = {(*(turn.prompt for turn in pair.history), pair.prompt): None for pair in pairs}
            found = overlaps(prompts, evaluations, length)
            report.rows += [OverlapRow(name, len(prompts), each, found[each]) for each in evaluations]
    return report


def _training_sets(plan: "Plan") -> dict[str, tuple[PreferenceData, int]]:
    """Each distinct training data of the plan under a readable name, with the lowest seed that draws it."""
    seeds: dict[PreferenceData, int] = {}
    for stage in plan.stages:
        data = getattr(stage.recipe, "preferences", None)
        if isinstance(data, PreferenceData):
            # Lengths cut tokens, not prompts: sets that differ in them alone are one.
            data = data.model_copy(update={"max_length": 2, "max_prompt_length": 1})
            seeds[data] = min(stage.seed, seeds.get(data, stage.seed))
    return _named([(f"{data.dataset} {data.preference}", (data, seed)) for data, seed in seeds.items()])


def _read_evaluations(plan: "Plan", context: StageContext, problems: list[str]) -> dict[str, Sequence[str]]:
    found = {}
    for name, read in _named(list(_evaluations(plan))).items():
        try:
            found[name] = read(context)
        except BadInput as error:
            problems.append(f"evaluation {name}: {error}")
    return found


def _evaluations(plan: "Plan") -> Iterator[tuple[str, Texts]]:
    """Each distinct evaluation set of the plan."""
    seen: set[Any] = set()
    for stage in plan.stages:
        for key, name, read in _sets_of(stage.recipe):
            if key not in seen:
                seen.add(key)
                yield name, read


def _sets_of(recipe: Recipe) -> Iterator[tuple[Any, str, Texts]]:
    """(what decides the rows, name, reader) of each benchmark and prompt set of a recipe."""
    for benchmark in getattr(recipe, "benchmarks", ()):
        if benchmark.task == "preference_accuracy":
            for data in benchmark.preferences:
                key = ("pairs", data.dataset, data.preference, data.source)
                yield key, f"{data.dataset} {data.preference} (held out)", _held_out(data)
        elif ":" not in benchmark.task:
            yield (benchmark.task, benchmark.source), benchmark.task, _items(benchmark)
    for prompts in getattr(recipe, "prompts", ()):
        yield prompts, prompts.name, _prompts(prompts)


def _held_out(data: PreferenceData) -> Texts:
    def read(context: StageContext) -> list[str]:
        from workers.data.preferences import load_pairs

        return list(dict.fromkeys(pair.prompt for pair in load_pairs(context, data, "test").pairs))

    return read


def _items(benchmark: Any) -> Texts:
    def read(context: StageContext) -> list[str]:
        from workers.evaluation.sources import locate

        location = locate(benchmark.source, context)
        if benchmark.task == "mmlu":
            from workers.evaluation.mmlu import questions

            return [str(row["question"]) for row in questions(location)[1]]
        if benchmark.task == "bbh":
            from workers.evaluation.bbh import problems

            return [str(row["input"]) for row in problems(location)[1]]
        if benchmark.task == "perplexity":
            from workers.evaluation.perplexity import documents

            return [str(row["text"]) for row in documents(location)]
        from workers.data.rows import read_rows

        folder = FOLDERS.get(benchmark.task, benchmark.task)
        path = location.file(*(benchmark.source.files or (f"{folder}/test.jsonl", "test.jsonl")))
        return [str(row.get("prompt") or "") for row in read_rows(path)]

    return read


def _prompts(prompts: Any) -> Texts:
    def read(context: StageContext) -> list[str]:
        from workers.evaluation.questions import chosen_prompts

        return chosen_prompts(prompts, context)

    return read


def _named(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Items by name; a name that comes again gets a number."""
    named: dict[str, Any] = {}
    for name, item in items:
        number = 1 + sum(known == name or known.startswith(f"{name} #") for known in named)
        named[name if number == 1 else f"{name} #{number}"] = item
    return named
