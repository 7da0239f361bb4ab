"""The study's figures: the loss along the training, and what was measured of each arm at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from results.files import WorkspaceError
from results.statistics import mean_interval
from results.studies.drawing import Figure, Point
from results.studies.estimates import estimate
from results.studies.quantization.cells import ARMS, FAMILIES, arm, title
from results.studies.quantization.scores import Scores

LAST = 0.9
"""The second panel of curves starts here, as the published inset does: steps 270,000 to 300,000 of 300,000."""
SHARP = ("baseline", "w8_row", "w4_row", "a8_row", "a4_row", "g8_row", "g4_row", "m8_row", "m4_row")


@dataclass(frozen=True)
class Bars:
    """A figure of one row an arm: a panel for each benchmark."""

    heading: str
    benchmarks: Sequence[str]
    arms: Sequence[str] = tuple(ARMS)
    note: str = ""


BARS: Mapping[str, Bars] = {
    "F-sharp": Bars("F-sharp: m-sharpness", ("sharpness",), SHARP),
    "F-outliers": Bars("F-outliers: channel outliers of activations", ("outliers", "outlier_peak")),
    "F-ghist": Bars(
        "F-ghist: zeros of gradients",
        ("zeros", "zero_codes_8_row", "zero_codes_8_tensor", "zero_codes_4_row"),
        note="Share of zeros in G, and of codes 0 by each published quantizer of G, whatever the arm.",
    ),
    "F-surface": Bars(
        "F-surface: what rounding changes in a layer",
        ("output_error", "gradient_cosine", "gradient_norm_ratio"),
        note="Quantized against full precision, with the same weights and batch: means over layers.",
    ),
    "F-time": Bars(
        "F-time: a training step", ("step_time", "step_ratio"), note="Measured; arithmetic is simulated."
    ),
    "F-mem": Bars(
        "F-mem: memory",
        (
            "measured_weights",
            "measured_gradients",
            "measured_states",
            "projected_weights",
            "projected_states",
        ),
        note="Measured: what lay in memory. Projected: what codes would take; nothing of it is saved here.",
    ),
}
CURVES = {f"F-curves-{family}": arms for family, arms in FAMILIES.items()}
FIGURES = (*CURVES, *BARS)


def study_figure(name: str, store: Scores | None) -> Figure:
    """The figure `name` of a store.

    Raises:
        WorkspaceError: there is no store, since no values of figures are published; or nothing was measured.
    """
    if store is None:
        raise WorkspaceError(f"{name}: the paper draws this and prints no values of it")
    figure = _curves(name, store) if name in CURVES else _bars(BARS[name], store)
    if not any(point.estimate.n for point in figure.points):
        raise WorkspaceError(f"{name}: none of the experiments that it shows was measured yet")
    return figure


def _curves(name: str, store: Scores) -> Figure:
    """Validation loss over steps: the arms of a family beside the baseline, whole and over the last tenth."""
    whole, last = "validation loss, nats", "the last tenth"
    steps = store.steps or 0.0
    arms = [each for each in ("baseline", *CURVES[name]) if arm(each) in store.planned]
    points = []
    for each in arms:
        by_step: dict[float, list[float]] = {}
        for line in store.curves("loss", arm(each)).values():
            for score in line:
                by_step.setdefault(score.step, []).append(score.value)
        for step, values in sorted(by_step.items()):
            found = mean_interval(values)
            points += [
                Point(panel, title(each), step, found)
                for panel in (whole, last)
                if panel == whole or step >= LAST * steps
            ]
    notes = ["Bars: 95 % t intervals over the seeds that reached the step.", *_diverged(store, arms)]
    heading = f"{name}: {name.rpartition('-')[2]} rounded ({store.title})"
    series = [title(each) for each in arms]
    return Figure(heading, "curves", [whole, last], series, points, across="step", columns=2, notes=notes)


def _diverged(store: Scores, arms: Sequence[str]) -> list[str]:
    """Which arms have runs that diverged, and when: their lines end there."""
    found = []
    for each in arms:
        broken = [run for run in store.runs("diverged", arm(each)).values() if run.value]
        if broken:
            steps = sorted(run.value for run in store.runs("reached", arm(each)).values())[: len(broken)]
            found.append(f"{title(each)}: diverged at {', '.join(f'{step:g}' for step in steps)}.")
    return found


def _bars(design: Bars, store: Scores) -> Figure:
    planned = [
        each
        for each in design.arms
        if arm(each) in store.planned and any(store.runs(name, arm(each)) for name in design.benchmarks)
    ]
    known = [name for name in design.benchmarks if store.has(name)]
    points = [
        Point(store.measured[name].heading, "store", title(each), estimate(store, name, arm(each)))
        for name in known
        for each in planned
    ]
    units = [store.measured[name].note for name in known]
    notes = [
        "Bars: 95 % intervals, seeds and items at random.",
        *units,
        *([design.note] if design.note else []),
    ]
    return Figure(
        f"{design.heading} ({store.title})",
        "rows",
        [store.measured[name].heading for name in known],
        ["store"],
        points,
        [title(each) for each in planned],
        columns=5,
        notes=notes,
    )
