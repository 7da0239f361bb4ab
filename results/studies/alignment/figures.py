"""The study's figures F1 to F6: which points they show. `results.studies.drawing` draws them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product

from results.files import WorkspaceError
from results.studies.alignment.cells import MODELS, Cell, title
from results.studies.alignment.curves import CURVES, curve_figure
from results.studies.alignment.scores import Scores, store_scores
from results.studies.drawing import Figure, Point
from results.studies.estimates import UNKNOWN, estimate
from results.studies.measurements import Measurements

PAIR = ("mistral-7b", "mistral-7b-instruct")
PREFERENCES = ("harmless", "helpful")
METHODS = ("sft", "dpo")
DATASETS = ("hh-rlhf", "beavertails")
FOUR = ("bbh", "mmlu", "alpacaeval", "rt")
NOTE = "Bars: 95 % intervals, seeds and prompts at random."

Rows = list[tuple[str, dict[str, str]]]


def study_figure(name: str, found: Measurements | None, published: Scores | None) -> Figure:
    """The figure `name` of a store (None: of the published figures alone).

    Raises:
        WorkspaceError: nothing that it shows was measured, or the paper does not print the figure's values.
    """
    if name in CURVES:
        if found is None:
            raise WorkspaceError(f"{name}: the paper draws these curves and prints no values of them")
        return curve_figure(name, found, store_scores(found))
    store = None if found is None else store_scores(found)
    figure = COMPARISONS[name](store, published)
    if not any(point.estimate.n or point.published is not None for point in figure.points):
        raise WorkspaceError(f"{name}: none of the experiments that it shows was measured yet")
    return figure


def _compared(
    heading: str,
    rows: Rows,
    factor: str,
    levels: tuple[str, ...],
    benchmarks: Sequence[str],
    store: Scores | None,
    published: Scores | None,
) -> Figure:
    """A row for each combination, and a colour for each level of `factor`."""
    names = list(_distinct(benchmarks, store, published))
    points = [
        _point(name, row, title(level), Cell.of({**fixed, factor: level}), store, published)
        for name, (row, fixed), level in product(names, rows, levels)
    ]
    first = store or published
    panels = [] if first is None else [_panel(first, name) for name in names]
    scale = "published figures" if store is None else store.title
    notes = [] if store is None else [NOTE, *_stand_ins(store, benchmarks)]
    series = [title(level) for level in levels]
    labels = [row for row, _ in rows]
    return Figure(f"{heading} ({scale})", "rows", panels, series, points, labels, columns=5, notes=notes)


def _distinct(benchmarks: Iterable[str], store: Scores | None, published: Scores | None) -> Iterator[str]:
    """The benchmarks that have figures; of two for which the same task stands in only the first."""
    seen: set[tuple[str, str | None]] = set()
    for name in benchmarks:
        if store is None:
            if published is not None and published.has(name):
                yield name
            continue
        measure = store.measured[name].measure
        if (measure.task, measure.metric) not in seen:
            seen.add((measure.task, measure.metric))
            yield name


def _point(
    name: str, row: str, series: str, cell: Cell, store: Scores | None, published: Scores | None
) -> Point:
    scores = store or published
    found = UNKNOWN if store is None else estimate(store, name, cell)
    comparable = published is not None and (store is None or not store.measured[name].stands_in)
    runs = published.runs(name, cell) if published is not None and comparable else {}
    panel = "" if scores is None else _panel(scores, name)
    return Point(panel, series, row, found, runs[0].value if runs else None)


def _panel(scores: Scores, name: str) -> str:
    one = scores.measured[name]
    return one.heading if scores.source == "published" or scores.has(name) else f"{one.heading}: no data"


def _stand_ins(scores: Scores, names: Iterable[str]) -> list[str]:
    return [scores.measured[name].note for name in names if scores.measured[name].stands_in]


def _quality(store: Scores | None, published: Scores | None) -> Figure:
    rows = _rows(product(PAIR, PREFERENCES, METHODS), ("model", "preference", "method"), adapter="qlora")
    heading = "F1: HH-RLHF against BeaverTails, QLoRA"
    return _compared(heading, rows, "dataset", DATASETS, (*FOUR, "red_instruct"), store, published)


def _methods(store: Scores | None, published: Scores | None) -> Figure:
    rows = _rows(
        product(MODELS, PREFERENCES), ("model", "preference"), adapter="qlora", dataset="beavertails"
    )
    return _compared(
        "F4: SFT against DPO, BeaverTails, QLoRA", rows, "method", METHODS, FOUR, store, published
    )


def _starts(store: Scores | None, published: Scores | None) -> Figure:
    rows = _rows(
        product(DATASETS, PREFERENCES, METHODS), ("dataset", "preference", "method"), adapter="qlora"
    )
    models = ("llama-1-7b", "vicuna-7b-v1.3")
    return _compared("F5: LLaMA-1 against Vicuna, QLoRA", rows, "model", models, FOUR, store, published)


def _adapters(store: Scores | None, published: Scores | None) -> Figure:
    rows = _rows(
        product(MODELS, PREFERENCES, METHODS), ("model", "preference", "method"), dataset="beavertails"
    )
    heading = "F6: QLoRA against LoRA, BeaverTails"
    return _compared(heading, rows, "adapter", ("qlora", "lora"), FOUR, store, published)


def _rows(levels: Iterable[tuple[str, ...]], factors: tuple[str, ...], **fixed: str) -> Rows:
    return [
        (
            ", ".join(title(level) for level in choice),
            {**dict(zip(factors, choice, strict=True)), **fixed, "variant": "single"},
        )
        for choice in levels
    ]


COMPARISONS: dict[str, Callable[[Scores | None, Scores | None], Figure]] = {
    "F1": _quality,
    "F4": _methods,
    "F5": _starts,
    "F6": _adapters,
}
