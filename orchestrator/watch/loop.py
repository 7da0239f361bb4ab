"""Watching until the person has seen enough; the run is never touched."""

import time
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console
from rich.live import Live

from orchestrator.view import View
from orchestrator.watch.keyboard import keys
from orchestrator.watch.picture import Looker
from orchestrator.watch.screen import draw

LEAST_PAUSE = 1.0
SHARE = 4.0
"""Between two looks passes so many times what a look takes: a huge workspace is not read all the time."""

QUIT = ("q", "Q")


def watch(view: View, experiments: Sequence[str], console: Console | None = None) -> None:
    """Show the state of `experiments` (ids) until q or Ctrl-C."""
    console = console or Console()
    looker = Looker(view, experiments, str(view.workspace.root))
    with (
        suppress(KeyboardInterrupt),
        keys() as wait,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            started = time.monotonic()
            live.update(draw(looker.look(), *console.size), refresh=True)
            taken = time.monotonic() - started
            if wait(max(LEAST_PAUSE, SHARE * taken)) in QUIT:
                break
            view.refresh()
    console.print(draw(looker.look(), console.width, 0))
