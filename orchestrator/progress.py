"""Following a run in the terminal: bars by kind of stage, what runs, and how long it will take."""

import time
from collections import Counter
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.backend import find_backend
from orchestrator.remainder import remaining_work, without_cancelled
from orchestrator.units import human_seconds
from orchestrator.view import View

POLL_SECONDS = 0.5
PLAIN_SECONDS = 15.0
RESTARTS = 5


def follow(view: View, experiments: Sequence[str], until_idle: bool) -> bool:
    """Show the run until every experiment has ended (or forever); tell whether it was interrupted.

    With `until_idle` this is the driver: supervisors that died are started again while there is progress,
    and Ctrl-C asks all of them to checkpoint and end. Without it, Ctrl-C leaves the run alone.
    """
    console = Console(stderr=True)
    display = Display(view, experiments)
    driver = Driver(view, experiments)
    try:
        with Live(console=console, refresh_per_second=4, transient=True, auto_refresh=False) as live:
            while not (until_idle and driver.finished()):
                if console.is_terminal:
                    live.update(display.render(), refresh=True)
                else:
                    display.print_plain(console)
                time.sleep(POLL_SECONDS)
                view.refresh()
    except KeyboardInterrupt:
        if until_idle:
            find_backend("local").stop(view.workspace)
        return until_idle
    return False


class Driver:
    """Decides when a local run is over, and starts it again when its supervisors died."""

    def __init__(self, view: View, experiments: Sequence[str]) -> None:
        self._view = view
        self._ids = list(experiments)
        self._chosen = set(experiments)
        self._restarts = 0
        self._done = -1
        self._quiet = 0

    def finished(self) -> bool:
        """Whether nothing of the run is left that could still happen."""
        statuses = self._view.survey.experiments
        if not any(statuses[identity] in ("pending", "running") for identity in self._ids):
            return not self._busy()
        self._quiet = 0 if self._alive() else self._quiet + 1
        if self._quiet < 4:
            return False
        return not self._restart()

    def _busy(self) -> bool:
        """Whether supervisors still finish (compaction, the end of a failed attempt), for a short while."""
        self._quiet += 1
        return self._quiet < 10 and self._alive()

    def _alive(self) -> bool:
        """Whether a supervisor of this machine is known to run."""
        return bool(find_backend("local").live(self._view.workspace))

    def _restart(self) -> bool:
        """Submit the rest again, unless the last few tries brought nothing; tell whether it was."""
        from orchestrator.dispatch import dispatch

        done = len(self._view.index.done)
        self._restarts = 0 if done > self._done else self._restarts + 1
        self._done, self._quiet = done, 0
        chosen = [one for one in self._view.experiments.values() if one.id in self._chosen]
        work = without_cancelled(self._view.workspace, remaining_work(self._view, chosen))
        if self._restarts >= RESTARTS:
            return False
        return dispatch(self._view.workspace, find_backend("local"), work) is not None


class Display:
    """What the terminal shows of a run."""

    def __init__(self, view: View, experiments: Sequence[str]) -> None:
        self._view = view
        self._ids = list(experiments)
        self._stages = {row.stage: (row.kind, row.cost) for row in view.stages_of(experiments)}
        self._started = time.monotonic()
        self._cost_at_start = self._remaining_cost()
        self._printed = 0.0

    def render(self) -> Group:
        """The live picture: a line of experiments, a bar by kind of stage, and what is held."""
        table = Table.grid(padding=(0, 2))
        for kind, total in sorted(Counter(kind for kind, _ in self._stages.values()).items()):
            states = Counter(self._state(stage) for stage, (k, _) in self._stages.items() if k == kind)
            bar = ProgressBar(total=total, completed=states["done"] + states["diverged"], width=40)
            notes = ", ".join(
                f"{count} {state}" for state, count in sorted(states.items()) if state != "done"
            )
            table.add_row(kind, bar, f"{states['done']}/{total}", notes)
        held = [Text(f"{kind} is held: {reason}", style="yellow") for kind, reason in self._view.held.items()]
        return Group(Text(self.line()), table, *held)

    def line(self) -> str:
        """One line: experiments by status, stages, time gone and time left."""
        statuses = Counter(self._view.survey.experiments[identity] for identity in self._ids)
        listed = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
        done = sum(self._state(stage) in ("done", "diverged") for stage in self._stages)
        gone = time.monotonic() - self._started
        return (
            f"{len(self._ids)} experiments: {listed} · {done}/{len(self._stages)} stages · "
            f"{human_seconds(gone)} gone{self._left(gone)}"
        )

    def print_plain(self, console: Console) -> None:
        """Where there is no terminal: the one line, every quarter of a minute."""
        now = time.monotonic()
        if now - self._printed >= PLAIN_SECONDS:
            self._printed = now
            console.print(self.line(), highlight=False, soft_wrap=True)

    def _left(self, gone: float) -> str:
        """The time left at the rate so far, by expected cost."""
        remaining = self._remaining_cost()
        finished = self._cost_at_start - remaining
        if finished <= 0 or gone < 5 or remaining <= 0:
            return ""
        return f", about {human_seconds(gone * remaining / finished)} left"

    def _remaining_cost(self) -> float:
        return sum(
            cost for stage, (_, cost) in self._stages.items() if self._state(stage) in ("pending", "running")
        )

    def _state(self, stage: str) -> str:
        return self._view.survey.stages.get(stage, "pending")
