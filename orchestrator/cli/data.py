"""`yates data`: what a grid needs, what a model will see of it, and what training shares with evaluation."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.grids import make_plan
from orchestrator.units import human_bytes

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.data.check import Checked, PairCount
    from orchestrator.data.overlap import OverlapReport

WIDTH = 160

app = typer.Typer(help="The data of a grid, before it runs.", no_args_is_help=True, add_completion=False)


def register(parent: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    parent.add_typer(app, name="data")


@app.command(
    "check", help="List every model and data set that a grid needs: where it is, and what is missing."
)
def check(
    grid: options.Grid,
    scale: options.Scale = None,
    preset: options.Preset = None,
    cells: options.Cells = None,
    where: options.Where = None,
    set_: options.Set = None,
    hub_map: options.HubMap = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Download what is missing; for a node with a network.")
    ] = False,
    count: Annotated[bool, typer.Option(help="Read the preference data and count its pairs.")] = True,
    as_json: options.Json = False,
) -> None:
    """Print needs and problems; exit code 1 when there is a problem."""
    from orchestrator.data.check import check as check_plan
    from orchestrator.data.check import fetch_missing

    planned, _ = make_plan(grid, scale, preset, cells, where, set_, hub_map)
    failed = {}
    if fetch:
        failed = fetch_missing(check_plan(planned, count=False), lambda line: typer.echo(line, err=True))
        planned, _ = make_plan(grid, scale, preset, cells, where, set_, hub_map)
    checked = check_plan(planned, count, failed)
    if as_json:
        typer.echo(json.dumps({"needs": [one.record() for one in checked]}, indent=2))
    else:
        _print_checked(checked, fetch)
    raise typer.Exit(1 if any(one.problems for one in checked) else 0)


@app.command(
    "show", help="Print what a model will really see in a stage: text, token ids, loss mask, end mark."
)
def show(
    grid: options.Grid,
    stage: Annotated[str, typer.Option(help="A stage of the pipeline, or a kind: sft, dpo, reference.")],
    scale: options.Scale = None,
    preset: options.Preset = None,
    cells: options.Cells = None,
    where: options.Where = None,
    set_: options.Set = None,
    hub_map: options.HubMap = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows, in the order of training.")] = 3,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Print the texts of the data, which may be offensive.")
    ] = False,
) -> None:
    """Print the first rows of the first selected experiment's stage."""
    from orchestrator.data.show import show_lines

    planned, _ = make_plan(grid, scale, preset, cells, where, set_, hub_map)
    for line in show_lines(planned, stage, rows, show_text):
        typer.echo(line)
    if not show_text:
        typer.echo("\ntexts of the data are masked (⟨n characters⟩, ·); --show-text prints them")
    typer.echo("tokens are id:piece, with * where the loss counts them")


@app.command("overlap", help="Count what the training prompts share with each evaluation set.")
def overlap(
    grid: options.Grid,
    scale: options.Scale = None,
    preset: options.Preset = None,
    cells: options.Cells = None,
    where: options.Where = None,
    set_: options.Set = None,
    hub_map: options.HubMap = None,
    length: Annotated[int, typer.Option("-n", min=1, help="Words in an n-gram.")] = 8,
    as_json: options.Json = False,
) -> None:
    """Print exact matches and n-gram shares; exit code 1 when a set could not be read."""
    from orchestrator.data.overlap import overlap_report

    planned, _ = make_plan(grid, scale, preset, cells, where, set_, hub_map)
    report = overlap_report(planned, length)
    if as_json:
        rows = [row.record() for row in report.rows]
        typer.echo(json.dumps({"words": length, "rows": rows, "problems": report.problems}, indent=2))
    else:
        _print_overlap(report, length)
    raise typer.Exit(1 if report.problems else 0)


def _print_checked(checked: "list[Checked]", fetched: bool) -> None:
    from rich.table import Table

    table = Table("what", "id", "revision", "found", "size", "for", box=None)
    for one in checked:
        identity = one.need.identity
        size = human_bytes(one.place.size) if one.place.path else ""
        purposes = ", ".join(sorted(one.need.purposes))
        found = (
            one.place.where if not one.problems or one.place.where == "missing" else f"{one.place.where} !"
        )
        table.add_row(
            identity.repository, identity.hub, (identity.revision or "")[:12], found, size, purposes
        )
    _print_table(table)
    for one in checked:
        for count in one.counts:
            typer.echo(_count_text(count))
    for one in checked:
        for problem in one.problems:
            typer.echo(f"problem: {one.need.identity.repository} {one.need.identity}: {problem}")
    wrong = sum(bool(one.problems) for one in checked)
    typer.echo(
        f"{len(checked)} needed, {wrong} with a problem" if wrong else f"{len(checked)} needed, all there"
    )
    if any(one.place.fetchable for one in checked) and not fetched:
        typer.echo("`yates data check GRID --fetch`, on a node with a network, brings what is missing")


def _count_text(count: "PairCount") -> str:
    from workers.data.counts import drop_text

    expected = (
        f" (published: {count.expected:,}, {count.usable - count.expected:+,})" if count.expected else ""
    )
    taken = f", {count.taken:,} in this split by the prompt" if count.taken != count.usable else ""
    return (
        f"pairs: {count.dataset} {count.preference} {count.split}: {count.read:,} rows, {count.usable:,} usable"
        f"{expected}{taken}; dropped: {drop_text(count.dropped)}"
    )


def _print_overlap(report: "OverlapReport", length: int) -> None:
    from rich.table import Table

    table = Table(
        "training prompts", "n", "evaluation", "items", "same", f"with a {length}-gram", "n-grams", box=None
    )
    for row in report.rows:
        found = row.overlap
        share = "" if found.gram_share is None else f"{found.gram_share:.2%}"
        table.add_row(
            row.training,
            f"{row.prompts:,}",
            row.evaluation,
            f"{found.items:,}",
            str(found.exact),
            str(found.touched),
            share,
        )
    _print_table(table)
    for problem in report.problems:
        typer.echo(f"problem: {problem}")


def _print_table(table: "Table") -> None:
    """As wide as its content needs where nobody looks at a terminal."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    console.print(table)
