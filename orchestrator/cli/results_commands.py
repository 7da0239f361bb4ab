"""`yates results`: the store as a table, CSV, JSON or Parquet."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from orchestrator.cli import options
from results.files import WorkspaceError

By = Annotated[str | None, typer.Option(help="Average over everything but these factors: model,method.")]
Metric = Annotated[str | None, typer.Option(help="Only these metrics: mmlu,preference_accuracy.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write here instead of to the terminal.")]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command("results", help="Query the results: one row per experiment, or averaged by factors.")(results)


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
