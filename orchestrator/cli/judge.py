"""`yates judge`: how far a judge can be trusted."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.paying import MaxJudgeCost, ask_about

if TYPE_CHECKING:
    from workers.judging.agreement import Agreement, Share

app = typer.Typer(help="Judges of answers.", no_args_is_help=True, add_completion=False)


def register(parent: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    parent.add_typer(app, name="judge")


@app.callback()
def _verbs() -> None:
    """Keep `check` a verb of its own."""


@app.command("check", help="Agreement of a judge with given labels: accuracy, Cohen's kappa, bias by order.")
def check(
    judge: Annotated[Path, typer.Option(help="A YAML file that names the judge as a grid does.")],
    labels: Annotated[Path, typer.Option(help="Labelled pairs or answers: JSON lines or a JSON array.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many labels, evenly spaced.")] = None,
    workspace: options.Root = options.DEFAULT_ROOT,
    hub_map: options.HubMap = None,
    max_judge_cost: MaxJudgeCost = None,
    as_json: options.Json = False,
) -> None:
    """Ask the judge about every label and print how far they agree."""
    from orchestrator.judge_check import load_check

    loaded = load_check(judge, labels, limit, hub_map)
    ask_about(loaded.cost(), max_judge_cost, here=True)
    found = loaded.ask(options.make_workspace(workspace))
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)


def _print(found: "Agreement") -> None:
    """One figure a line, with its interval and the number of items behind it."""
    rows = [("accuracy", found.accuracy), ("Cohen's kappa", found.kappa)]
    if len(found.by_order) > 1:
        rows += [(f"accuracy, {name.replace('_', ' ')}", share) for name, share in found.by_order.items()]
    if found.position_bias is not None:
        rows.append(("position bias", found.position_bias))
    if found.first_position is not None:
        rows.append(("first position", found.first_position))
    for name, share in rows:
        typer.echo(f"{name:22}{_figure(share)}")
    typer.echo(f"{'unparsed':22}{found.unparsed} of {found.items}")


def _figure(share: "Share") -> str:
    if share.value is None:
        return f"undefined  n {share.n}"
    return f"{share.value:.3f}  95% [{share.low:.3f}, {share.high:.3f}]  n {share.n}"
