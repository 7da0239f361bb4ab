"""`yates verify`, `gc`, `compact`: care of a workspace."""

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.units import human_bytes

SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command("verify", help="Check every marker, checksum and index; rebuild what can be rebuilt.")(verify)
    app.command("gc", help="Show what nothing needs any more, with sizes, and remove it when told to.")(gc)
    app.command("compact", help="Fold everything committed into a new generation of the Parquet store.")(
        compact
    )


def verify(
    workspace: options.Root = options.DEFAULT_ROOT,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set damaged files aside and mend the indexes.")
    ] = False,
) -> None:
    """Check the workspace; exit code 1 when something is wrong and was not repaired."""
    from orchestrator.verify import verify as verify_workspace
    from results.store import rebuild

    place = options.open_workspace(workspace)
    report = verify_workspace(place, repair)
    for line in report.repaired if repair else report.problems:
        typer.echo(line)
    if repair:
        rebuild(place)
    typer.echo(
        f"{report.stages} stages, {report.commits} commits and {report.checkpoints} checkpoints checked: "
        f"{len(report.problems)} problems, {len(report.repaired)} repairs"
    )
    raise typer.Exit(1 if report.problems and not repair else 0)


def gc(
    workspace: options.Root = options.DEFAULT_ROOT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """List garbage and remove it after asking."""
    from orchestrator.gc import find_garbage, remove
    from orchestrator.view import View

    view = View(options.open_workspace(workspace))
    garbage = sorted(find_garbage(view), key=lambda item: -item.size)
    for item in garbage[:SHOWN]:
        typer.echo(f"{human_bytes(item.size):>10}  {item.path}  ({item.reason})")
    total = human_bytes(sum(item.size for item in garbage))
    typer.echo(f"{len(garbage)} directories, {total}")
    if garbage and not dry_run and (yes or typer.confirm("Remove them?")):
        remove(view, garbage)
        typer.echo(f"removed {total}")


def compact(workspace: options.Root = options.DEFAULT_ROOT) -> None:
    """Publish a new generation of the store."""
    from results.store import compact_fully

    compact_fully(options.open_workspace(workspace))
