"""The picture on a terminal of any size: what does not fit is counted, never lost."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.units import human_seconds
from orchestrator.watch.bundles import Bundle
from orchestrator.watch.picture import Bar, Failure, Held, Picture

COLOURS = {
    "done": "green",
    "diverged": "yellow",
    "running": "blue",
    "failed": "red",
    "blocked": "magenta",
    "held": "bright_magenta",
    "stopped": "cyan",
    "pending": "bright_black",
}
"""Colours stand beside words and signs everywhere, so that nothing depends on them."""

SIGNS = {
    "done": "█",
    "diverged": "▓",
    "stopped": "▒",
    "running": "▸",
    "failed": "✗",
    "blocked": "x",
    "held": "‖",
    "pending": "·",
}
LEAST_BUNDLES = 3
NARROW = 90


def draw(picture: Picture, width: int, height: int) -> Group:
    """The picture for a terminal of `width` columns and `height` rows."""
    above = [*_heading(picture), _bars(picture.bars, width)]
    below = [
        *_failures(picture.failures, width),
        *_held(picture.held),
        Text("q quits; the run goes on", style="dim"),
    ]
    used = 3 + len(picture.bars) + 2 * len(picture.failures) + 3 * len(picture.held) + 2
    return Group(*above, *_bundles(picture, width, max(LEAST_BUNDLES, height - used - 3)), *below)


def _heading(picture: Picture) -> Iterator[RenderableType]:
    total = sum(picture.experiments.values())
    yield Text(f"{picture.title}: {total:,} experiments", style="bold")
    line = Text()
    for status, sign in SIGNS.items():
        count = picture.experiments.get(status, 0)
        if count:
            line.append(f"{sign} {count:,} {status}  ", style=COLOURS[status])
    yield line
    left = "" if picture.left is None else f", about {human_seconds(picture.left)} left"
    yield Text("nothing runs or waits" if picture.over else f"{human_seconds(picture.gone)} watched{left}")


def _bars(bars: Sequence[Bar], width: int) -> Table:
    """A bar a kind of stage, made of the signs of its states."""
    table = Table.grid(padding=(0, 2))
    for one in bars:
        notes = ", ".join(
            f"{one.states[state]:,} {state}" for state in SIGNS if state != "done" and one.states.get(state)
        )
        room = max(10, min(50, width - 60))
        table.add_row(one.kind, _bar(one, room), f"{one.done:,}/{one.total:,}", Text(notes, style="dim"))
    return table


def _bar(one: Bar, room: int) -> Text:
    """Places by shares; every state that occurs has one at least, and the largest makes up for it."""
    present = [state for state in SIGNS if one.states.get(state)]
    places = {state: max(1, int(room * one.states[state] / one.total)) for state in present}
    largest = max(present, key=lambda state: one.states[state])
    places[largest] += room - sum(places.values())
    bar = Text()
    for state in present:
        bar.append(SIGNS[state] * places[state], style=COLOURS[state])
    return bar


def _bundles(picture: Picture, width: int, room: int) -> Iterator[RenderableType]:
    if not picture.running:
        yield Text("no bundle runs", style="dim")
        return
    narrow = width < NARROW
    headings = (
        ("stage", "step", "steps/s", "left")
        if narrow
        else ("node", "GPU", "stage", "step", "steps/s", "stages left", "left")
    )
    table = Table(*headings, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for one in picture.bundles[:room]:
        cells = _cells(one)
        table.add_row(*(cells[2:5] + cells[6:] if narrow else cells))
    yield table
    more = picture.running - min(room, len(picture.bundles))
    if more > 0:
        yield Text(f"and {more:,} more{_speed(picture.bundles)}", style="dim")


def _cells(one: Bundle) -> list[Text]:
    step = (
        "–" if one.step is None else f"{one.step:,}" if one.steps is None else f"{one.step:,}/{one.steps:,}"
    )
    rate = "…" if one.rate is None else f"{one.rate:.2g}" if one.rate < 10 else f"{one.rate:,.0f}"
    stands = one.rate == 0
    left = "stands still" if stands else "–" if one.seconds_left is None else human_seconds(one.seconds_left)
    texts = [one.node, one.gpu, one.kind, step, rate, f"{one.left:,}", left]
    return [Text(text, style="red" if stands else "", overflow="ellipsis", no_wrap=True) for text in texts]


def _speed(bundles: Sequence[Bundle]) -> str:
    rates = [one.rate for one in bundles if one.rate is not None]
    return f"; {len(rates):,} of all make {sum(rates):,.3g} steps/s" if rates else ""


def _failures(failures: Sequence[Failure], width: int) -> Iterator[RenderableType]:
    for one in failures:
        text = f"✗ {one.stages:,} × {one.kind} {one.ending}, such as: {_one_line(one.example)}"
        yield Text(text[: 2 * width], style="red", overflow="fold")


def _held(held: Sequence[Held]) -> Iterator[RenderableType]:
    for one in held:
        yield Text(
            f"‖ {one.kind} is held ({one.stages:,} stages): {_one_line(one.reason)}", style="bright_magenta"
        )


def _one_line(text: str) -> str:
    """`text` on one line, without what a terminal would obey."""
    return "".join(one for one in " ".join(text.split()) if one.isprintable())
