"""The study's figures: win rate by step and by true KL, what training logged, factuality before and after."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from results.files import WorkspaceError
from results.studies.drawing import Figure, Point
from results.studies.estimates import UNKNOWN, across_seeds, estimate
from results.studies.rlhf.cells import FULL, PPO, REGULARIZERS, SUPERVISED, Cell, labels, ordered, short
from results.studies.rlhf.scores import HORIZON, WINDOW, Scores
from results.studies.scores import Score

LOGGED = ("score", "penalty", "true_kl", "entropy", "response_length", "policy_clipped")
BARS = "Bars: 95 % intervals, seeds and prompts at random."
SEEDS = "Bars: 95 % t intervals over seeds."
STRIDE = 50
"""Logged curves are drawn at no more than so many steps."""


def study_figure(name: str, store: Scores | None, published: Scores | None) -> Figure:
    """The figure `name` of a store (None: of the published figures alone).

    Raises:
        WorkspaceError: nothing that it shows was measured, or the paper does not print the figure's values.
    """
    if store is None and name not in ("F1", "F2"):
        raise WorkspaceError(f"{name}: the paper draws this and prints no values of it")
    figure = FIGURES[name](store, published)
    if not any(point.estimate.n or point.published is not None for point in figure.points):
        raise WorkspaceError(f"{name}: none of the experiments that it shows was measured yet")
    return figure


def _arms(*sources: Scores | None) -> list[Cell]:
    """The PPO arms of all sources."""
    found = [cell for one in sources if one is not None for cell in one.cells if cell.method == PPO]
    return ordered(list(dict.fromkeys(cell for cell in found if cell.regularizer in REGULARIZERS)))


def _series(cell: Cell) -> tuple[str, str]:
    """Its colour is an arm's regularizer, its kind of line the coefficient."""
    method, regularizer, coefficient = labels(cell)
    extra = method.split(", ")[1:]
    return ", ".join([regularizer, *extra]), "" if coefficient == "–" else coefficient


def _lines(scores: Scores, benchmark: str, cells: Iterable[Cell]) -> Iterator[tuple[Cell, list[list[Score]]]]:
    """For each cell the scores of all seeds, checkpoint by checkpoint; of logged curves some steps."""
    for cell in cells:
        lines = list(scores.curves(benchmark, cell).values())
        shortest = min(map(len, lines), default=0)
        every = max(1, shortest // STRIDE)
        places = [place for place in range(shortest) if (place + 1) % every == 0 or place == 0]
        if shortest:
            yield cell, [[line[place] for line in lines] for place in places]


def _measured(store: Scores, benchmark: str, panel: str, cells: Iterable[Cell]) -> Iterator[Point]:
    for cell, checkpoints in _lines(store, benchmark, cells):
        for found in checkpoints:
            place = sum(score.step for score in found) / len(found)
            series, style = _series(cell)
            yield Point(panel, series, place, across_seeds(found), style=style)


def _printed(published: Scores, benchmark: str, panel: str, cells: Iterable[Cell]) -> Iterator[Point]:
    for cell, checkpoints in _lines(published, benchmark, cells):
        for (score,) in checkpoints:
            series, style = _series(cell)
            yield Point(panel, series, score.step, UNKNOWN, score.value, style)


def _by_step(store: Scores | None, published: Scores | None) -> Figure:
    """F1, with the two reference systems as level lines."""
    points: list[Point] = []
    first = store or published
    assert first is not None
    panels = [name for name in ("win_rate", "benign") if name == "win_rate" or (store and store.has(name))]
    for name in panels:
        if store is not None:
            points += _measured(store, name, first.measured[name].heading, _arms(store))
    if published is not None:
        heading = first.measured["win_rate"].heading
        points += _printed(published, "win_rate", heading, _arms(published))
        for method in (FULL, SUPERVISED):
            points += _level(published, heading, method)
    return _curves(
        "F1: win rate by PPO step",
        "PPO step",
        [first.measured[name].heading for name in panels],
        points,
        first,
    )


def _level(published: Scores, panel: str, method: str) -> Iterator[Point]:
    for cell in published.cells:
        for run in published.runs("win_rate", cell).values() if cell.method == method else ():
            for step in (20.0, HORIZON):
                yield Point(panel, short(cell), step, UNKNOWN, run.value, "reference")


def _by_kl(store: Scores | None, published: Scores | None) -> Figure:
    """F2: a marker for each checkpoint."""
    first = store or published
    assert first is not None
    panel = first.measured["by_kl"].heading
    points = [] if store is None else list(_measured(store, "by_kl", panel, _arms(store)))
    points += [] if published is None else list(_printed(published, "by_kl", panel, _arms(published)))
    note = f"True KL: exact, on rollouts at temperature 1, mean of {WINDOW} steps up to the checkpoint."
    return _curves(
        "F2: win rate against true KL",
        "true KL, nats a token",
        [panel],
        points,
        first,
        [note] if store else [],
        False,
    )


def _logged(store: Scores | None, published: Scores | None) -> Figure:
    """F3: what training logged."""
    assert store is not None
    known = [name for name in LOGGED if any(len(found) > 1 for _, found in _lines(store, name, _arms(store)))]
    points = [
        point
        for name in known
        for point in _measured(store, name, store.measured[name].heading, _arms(store))
    ]
    panels = [store.measured[name].heading for name in known]
    return _curves("F3: along the training", "PPO step", panels, points, store, aside=False, bars=SEEDS)


def _curves(
    heading: str,
    across: str,
    panels: Sequence[str],
    points: Sequence[Point],
    first: Scores,
    notes: Sequence[str] = (),
    aside: bool = True,
    bars: str = BARS,
) -> Figure:
    series = list(dict.fromkeys(point.series for point in points))
    notes = [*([bars] if first.source == "store" else []), *notes]
    return Figure(
        f"{heading} ({first.title})",
        "curves",
        panels,
        series,
        points,
        across=across,
        columns=3,
        notes=notes,
        aside=aside,
    )


def _factuality(store: Scores | None, published: Scores | None) -> Figure:
    """F4: the supervised model before, the trained policy after."""
    assert store is not None
    cells = [cell for cell in ordered(store.cells) if store.runs("factscore", cell)]
    pairs = {"factscore": "factscore_start", "facts": "facts_start"}
    points = []
    for name, before in pairs.items():
        for cell in cells:
            panel = store.measured[name].heading
            points.append(Point(panel, "before", short(cell), estimate(store, before, cell)))
            points.append(Point(panel, "after", short(cell), estimate(store, name, cell)))
    panels = [store.measured[name].heading for name in pairs]
    rows = list(dict.fromkeys(short(cell) for cell in cells))
    heading = f"F4: factuality before and after ({store.title})"
    return Figure(heading, "rows", panels, ["before", "after"], points, rows, columns=2, notes=[BARS])


FIGURES: dict[str, Callable[[Scores | None, Scores | None], Figure]] = {
    "F1": _by_step,
    "F2": _by_kl,
    "F3": _logged,
    "F4": _factuality,
}
