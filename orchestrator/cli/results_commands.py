"""`yates results`: the store as a table, CSV, JSON or Parquet."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from orchestrator.cli import options
from results.files import WorkspaceError

By = Annotated[str | None, typer.Option(help="Group by these factors: model,method.")]
Metric = Annotated[str | None, typer.Option(help="Only these metrics: mmlu,preference_accuracy.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The file to write; of several formats its suffix takes one."),
]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command("results", help="Query the results: one row per experiment, or averaged by factors.")(results)
    app.command(
        "export", help="An experiment's model as a folder for the Hugging Face Hub, with its model card."
    )(export)
    app.command("best", help="The winners of a search, and how another grid takes them.")(best)


def results(
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    by: By = None,
    metric: Metric = None,
    format_: Annotated[
        Literal["table", "csv", "json", "parquet"], typer.Option("--format", help="How to print.")
    ] = "table",
    output: Output = None,
) -> None:
    """Print the results."""
    from orchestrator.query import query

    options.open_workspace(workspace)
    frame = query(workspace, where, _names(by), _names(metric))
    if format_ == "parquet":
        if output is None:
            raise WorkspaceError("--format parquet writes a binary file: name it with --output")
        frame.to_parquet(output, index=False)
    else:
        _write(_render(frame, format_), output)


def best(workspace: options.Root = options.DEFAULT_ROOT, as_json: options.Json = False) -> None:
    """Print the best trial of each group that a search compared."""
    from orchestrator.best import winners
    from orchestrator.view import View

    found = winners(View(options.open_workspace(workspace)))
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found], indent=2))
        return
    if not found:
        typer.echo("no trial has come to its end yet; `yates status` says where they are")
    for one in found:
        error = "" if one.stderr is None else f" ± {one.stderr:.2g}"
        typer.echo(f"{one.experiment.row.name}")
        typer.echo(
            f"  {one.metric} {one.value:.4g}{error}, best of {one.done} trials that ended of {one.trials}"
        )
        if one.overrides:
            typer.echo("  " + " ".join(f"--set {text}" for text in one.overrides))


def export(
    experiment: Annotated[
        str, typer.Argument(help="An experiment's name, its id, or the beginning of its id.")
    ],
    directory: Annotated[Path, typer.Option("--directory", "-d", help="The folder to make.")],
    workspace: options.Root = options.DEFAULT_ROOT,
) -> None:
    """Copy the model and write its card."""
    from orchestrator.export import export_model
    from orchestrator.view import View

    found = export_model(View(options.open_workspace(workspace)), experiment, directory)
    typer.echo(
        f"wrote {directory}: {found.folder.name} of stage {found.stage.id}, and README.md, its model card"
    )


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()] if text else []


def _render(frame: Any, format_: str) -> str:
    match format_:
        case "csv":
            return str(frame.to_csv(index=False)).rstrip("\n")
        case "json":
            return str(frame.to_json(orient="records", indent=2))
    return str(frame.to_string(index=False, max_colwidth=48, float_format=lambda value: f"{value:.4g}"))


def _write(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text + "\n")
