"""`yates effects`, `compare`, `power`: what factors do, how levels compare, and how many seeds would decide more."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orchestrator.cli import options
from orchestrator.cli.studies import IMAGES, Output, Study, find_study, format_of, source, write
from results.files import WorkspaceError

if TYPE_CHECKING:
    from results.effects.observations import Runs

Metric = Annotated[str | None, typer.Option(help="Only these metrics: mmlu,preference_accuracy.")]
Factors = Annotated[
    str | None, typer.Option(help="Only these factors: model,method. Default: all that vary.")
]
Replicates = Annotated[str, typer.Option(help="The factor whose levels are replicates.")]
Format = Annotated[Literal["markdown", "latex", "csv"] | None, typer.Option("--format", help="How to print.")]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(
        "effects", help="Main effects and interactions of the factors on each metric, with intervals."
    )(effects)
    app.command("compare", help="The levels of one factor over shared cells: differences, ranks, wins.")(
        compare
    )
    app.command("power", help="How many more seeds would decide a study's undecided findings.")(power)


def effects(
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    metric: Metric = None,
    factors: Factors = None,
    order: Annotated[int, typer.Option(min=1, help="How many factors an interaction may have.")] = 2,
    replicates: Replicates = "seed",
    format_: Format = None,
    output: Output = None,
) -> None:
    """Print the effects, or draw them: a suffix .svg, .png or .pdf makes a figure."""
    from results.effects.analyses import analysed, effects_figure, effects_table
    from results.studies.rendering import render

    runs = _runs(workspace, where)
    found = analysed(runs, _metrics(runs, metric), _names(factors), order, replicates)
    title = f"Effects ({_kind(runs)})"
    if output is not None and output.suffix in IMAGES:
        effects_figure(found, title).save(output)
        typer.echo(f"wrote {output}")
        return
    chosen = format_of(format_, output, ("markdown", "latex", "csv"))
    write(render(effects_table(found, title), chosen), output)


def compare(
    factor: Annotated[str, typer.Argument(help="The factor whose levels are compared: method.")],
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    metric: Metric = None,
    lower: Annotated[
        str | None, typer.Option("--lower", help="Metrics of which less is better: perplexity.")
    ] = None,
    replicates: Replicates = "seed",
    format_: Format = None,
    output: Output = None,
) -> None:
    """Print paired differences, mean ranks and the win matrix."""
    from results.effects.comparisons import compared, comparison_table
    from results.effects.observations import check
    from results.studies.rendering import render

    runs = _runs(workspace, where)
    check("factor", [factor], runs.factors)
    check("metric", _names(lower), runs.metrics)
    found = compared(runs, factor, _metrics(runs, metric), _names(lower), replicates)
    table = comparison_table(found, factor, f"Levels of {factor} ({_kind(runs)})")
    write(render(table, format_of(format_, output, ("markdown", "latex", "csv"))), output)


def power(
    study: Study,
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    largest: Annotated[int, typer.Option(min=1, help="Most seeds that a planned extension adds.")] = 20,
    format_: Format = None,
    output: Output = None,
) -> None:
    """Print what every undecided test of the study's findings needs."""
    import results
    from results.power import extensions, needs, power_table
    from results.studies.rendering import render

    module = find_study(study)
    place, chosen = source(workspace, where, only_published=False)
    _, as_json = module.findings(place, chosen)
    found = needs(json.loads(as_json))
    if not found:
        typer.echo("every finding whose replicates are seeds is decided or has no data")
        return
    experiments = results.experiments(workspace)
    mine = experiments[experiments["study"] == study]
    table = power_table(found, extensions(found, mine, largest), f"Undecided findings of {study}")
    write(render(table, format_of(format_, output, ("markdown", "latex", "csv"))), output)


def _runs(workspace: Path, where: str | None) -> "Runs":
    """The selected rows of `results.load`, with the names of the factors."""
    import results
    from orchestrator.query import select
    from results.effects.observations import runs_of
    from results.schema import FIXED_COLUMNS

    options.open_workspace(workspace)
    frame = results.load(workspace)
    factors = [str(name) for name in results.experiments(workspace).columns if name not in FIXED_COLUMNS]
    return runs_of(frame if where is None else select(frame, where), factors)


def _metrics(runs: "Runs", chosen: str | None) -> list[str]:
    """The metrics named, else the primary ones that some run has."""
    from results.effects.observations import primary

    found = _names(chosen) or [name for name in primary(runs.metrics) if runs.frame[name].notna().any()]
    if not found:
        raise WorkspaceError("none of these experiments has a figure yet")
    return found


def _kind(runs: "Runs") -> str:
    first: Any = runs.frame.iloc[0]
    return f"{first['study']}, scale {first['scale']}, preset {first['preset']}"


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()] if text else []
