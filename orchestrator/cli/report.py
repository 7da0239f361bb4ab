"""`yates report`: one HTML file on one or several workspaces."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.units import human_bytes
from results.files import WorkspaceError

Workspaces = Annotated[
    list[Path] | None,
    typer.Argument(help="The directories that hold the runs; by default the one of --workspace."),
]


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command line."""
    app.command("report", help="One HTML file with everything: completeness, figures, findings, cost.")(
        report
    )


def report(
    workspaces: Workspaces = None,
    workspace: options.Root = options.DEFAULT_ROOT,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The file to write; of several formats its suffix takes one."),
    ] = Path("report.html"),
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    max_mb: Annotated[
        float, typer.Option("--max-mb", min=3, help="Leave out details of experiments beyond this size.")
    ] = 20,
    samples: Annotated[
        bool, typer.Option("--samples/--no-samples", help="Whether what models wrote may be in the file.")
    ] = True,
) -> None:
    """Write the report and say where it is."""
    from results.report.writing import write_report

    if output.is_dir():
        raise WorkspaceError(f"{output}: is a directory; name a file, such as {output / 'report.html'}")
    places = [options.open_workspace(root) for root in dict.fromkeys(workspaces or [workspace])]
    with _progress(2 * len(places) + 2) as tell:
        size = write_report(places, output, max_mb, samples, tell)
    typer.echo(f"wrote {output} ({human_bytes(size)})")
    if open_:
        typer.launch(str(output.absolute()))


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[str], None]]:
    """A bar on the terminal, where there is one, that goes on with every step that is told of."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=steps + 1)
        yield lambda text: progress.update(task, description=text, advance=1)
