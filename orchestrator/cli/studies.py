"""`yates table`, `figure`, `findings`, `samples`: a study's published results made again from a workspace."""

import importlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from orchestrator.cli import options
from orchestrator.errors import unknown
from results.files import WorkspaceError
from results.layout import Workspace
from results.studies import STUDIES

Study = Annotated[str, typer.Argument(help="The study: alignment, quantization or rlhf.")]
Published = Annotated[bool, typer.Option("--published", help="Show the published figures beside.")]
OnlyPublished = Annotated[
    bool, typer.Option("--only-published", help="Show the published figures alone; no workspace is read.")
]
SwapSlerp = Annotated[
    bool,
    typer.Option("--swap-slerp", help="Take the published labels of the two Slerp rows to be exchanged."),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The file to write; of several formats its suffix takes one."),
]
SUFFIXES = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json"}
IMAGES = (".svg", ".png", ".pdf")


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command("table", help="A table of a study's paper, made again: mean, number of runs, interval.")(
        table
    )
    app.command(
        "figure", help="A figure of a study's paper, made again: .svg, .png or .pdf, or .csv for its data."
    )(figure)
    app.command("findings", help="A study's published statements, each tested on the results.")(findings)
    app.command("samples", help="The answers of two experiments to the same prompts, side by side.")(samples)


def table(
    study: Study,
    name: Annotated[str, typer.Argument(help="The table, such as T4.")],
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    published: Published = False,
    only_published: OnlyPublished = False,
    shape: Annotated[
        bool, typer.Option("--shape", help="Show length, repetition and ended beside judged figures.")
    ] = False,
    swap_slerp: SwapSlerp = False,
    format_: Annotated[
        Literal["markdown", "latex", "csv"] | None, typer.Option("--format", help="How to print.")
    ] = None,
    output: Output = None,
) -> None:
    """Print a table."""
    module = find_study(study)
    _known("table", name, module.TABLES)
    chosen_format = format_of(format_, output, ("markdown", "latex", "csv"))
    place, chosen = source(workspace, where, only_published)
    found = module.table(
        name, place, chosen, published, **_options(study, shape=shape, swap_slerp=swap_slerp)
    )
    from results.studies.rendering import render

    write(render(found, chosen_format), output)


def figure(
    study: Study,
    name: Annotated[str, typer.Argument(help="The figure, such as F4.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The file to write; of several formats its suffix takes one."),
    ],
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    published: Published = False,
    only_published: OnlyPublished = False,
) -> None:
    """Draw a figure, or write the data behind it."""
    module = find_study(study)
    _known("figure", name, module.FIGURES)
    if output.suffix not in (*IMAGES, ".csv"):
        allowed = ", ".join((*IMAGES, ".csv"))
        raise WorkspaceError(f"{output}: unknown kind of file {output.suffix!r}; allowed: {allowed}")
    place, chosen = source(workspace, where, only_published)
    found = module.figure(name, place, chosen, published)
    if output.suffix == ".csv":
        output.write_text(found.as_csv() + "\n", encoding="utf-8")
    else:
        found.save(output)
    typer.echo(f"wrote {output}")


def findings(
    study: Study,
    workspace: options.Root = options.DEFAULT_ROOT,
    where: options.Where = None,
    published: Published = False,
    only_published: OnlyPublished = False,
    swap_slerp: SwapSlerp = False,
    statements: Annotated[
        Path | None, typer.Option(help="A YAML file of statements and margins, in place of the study's.")
    ] = None,
    format_: Annotated[
        Literal["markdown", "latex", "csv", "json"] | None,
        typer.Option("--format", help="How to print."),
    ] = None,
    output: Output = None,
) -> None:
    """Test every statement of a study's paper."""
    module = find_study(study)
    chosen_format = format_of(format_, output, ("markdown", "latex", "csv", "json"))
    place, chosen = source(workspace, where, only_published)
    own = _options(study, swap_slerp=swap_slerp)
    found, as_json = module.findings(place, chosen, published, statements, **own)
    from results.studies.rendering import render

    write(as_json if chosen_format == "json" else render(found, chosen_format), output)


def samples(
    first: Annotated[str, typer.Argument(help="An experiment: its name, or the beginning of its id.")],
    second: Annotated[str, typer.Argument(help="Another experiment.")],
    workspace: options.Root = options.DEFAULT_ROOT,
    task: Annotated[str | None, typer.Option(help="Only the answers of this task.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many prompts to show.")] = 10,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Show offensive texts instead of their lengths.")
    ] = False,
) -> None:
    """Print two experiments' answers to the prompts that both were given."""
    from orchestrator.view import View
    from results.studies.side_by_side import print_side_by_side, shared_answers

    view = View(options.open_workspace(workspace))
    pair = [view.find(text) for text in (first, second)]
    if pair[0].id == pair[1].id:
        raise WorkspaceError(f"{first!r} and {second!r} are the same experiment, {pair[0].row.name}")
    answers = shared_answers(view.workspace, (pair[0].id, pair[1].id), task)
    print_side_by_side(answers, (pair[0].row.name, pair[1].row.name), limit, show_text)


def find_study(name: str) -> Any:
    """The module of a study.

    Raises:
        WorkspaceError: there is no such study.
    """
    _known("study", name, STUDIES)
    return importlib.import_module(STUDIES[name])


def _options(study: str, **options: bool) -> dict[str, bool]:
    """The options that only the alignment study has, for a call of it.

    Raises:
        WorkspaceError: one of them is given for another study.
    """
    given = [name for name, value in options.items() if value]
    if study == "alignment":
        return options
    if given:
        raise WorkspaceError(
            f"--{given[0].replace('_', '-')} is an option of the study alignment, not of {study}"
        )
    return {}


def _known(what: str, name: str, allowed: Collection[str]) -> None:
    if name not in allowed:
        raise WorkspaceError(unknown(what, name, allowed))


def source(
    root: Path, where: str | None, only_published: bool
) -> tuple[Workspace | None, Collection[str] | None]:
    """The workspace to read, if any, and the ids of the experiments that `where` holds for."""
    if only_published:
        return None, None
    place = options.open_workspace(root)
    return place, None if where is None else _selected(place, where)


def _selected(place: Workspace, where: str) -> Collection[str]:
    from orchestrator.selection import chooser, none_selected
    from orchestrator.view import View

    experiments = View(place).experiments.values()
    holds: Callable[[Any], bool] = chooser(where, (one.factors for one in experiments))
    found = {one.id for one in experiments if holds(one.factors)}
    if not found:
        raise none_selected(where)
    return found


def format_of(chosen: str | None, output: Path | None, allowed: Collection[str]) -> str:
    """The format asked for, else that of the file's suffix, else Markdown."""
    if chosen is not None or output is None:
        return chosen or "markdown"
    found = SUFFIXES.get(output.suffix, "markdown")
    return found if found in allowed else "markdown"


def write(text: str, output: Path | None) -> None:
    """Print `text`, or write it to a file."""
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")
