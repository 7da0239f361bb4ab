"""Options that several verbs share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

from results.files import WorkspaceError
from results.layout import Workspace

Grid = Annotated[Path, typer.Argument(help="A grid file, such as grids/alignment.yaml.")]
Root = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="YATES_WORKSPACE", help="The directory that holds the run."),
]
Scale = Annotated[str | None, typer.Option(help="A scale of the grid: tiny, small, paper.")]
Preset = Annotated[str | None, typer.Option(help="A preset of the grid: corrected, as-published.")]
Cells = Annotated[str | None, typer.Option(help="A set of cells of the grid: full, published.")]
Where = Annotated[
    str | None, typer.Option(help="Select experiments: 'method == \"dpo\" and seed in (0, 1)'.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key: recipes.dpo.beta=0.2. Repeatable.")
]
Seeds = Annotated[
    int | None, typer.Option(help="As many seeds as this; more than the grid lists are the next numbers.")
]
HubMap = Annotated[
    Path | None,
    typer.Option("--hub-map", envvar="YATES_HUB_MAP", help="A YAML file that maps hub ids to local paths."),
]
On = Annotated[str, typer.Option("--on", help="Where to run: local, slurm, ray.")]
OnAgain = Annotated[str | None, typer.Option("--on", help="Where to run: local, slurm, ray.")]
Profile = Annotated[
    str | None,
    typer.Option("--profile", help="The cluster's profile: a name or a YAML file. Default: YATES_PROFILE."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="The Ray cluster: http://HEAD:8265. Default: RAY_ADDRESS, else Ray is started on this machine.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

DEFAULT_ROOT = Path("runs")


def open_workspace(root: Path) -> Workspace:
    """The workspace at `root`, which must exist.

    Raises:
        WorkspaceError: there is none.
    """
    if not root.is_dir():
        raise WorkspaceError(
            f"{root}: there is no workspace here; name one with --workspace or YATES_WORKSPACE"
        )
    return Workspace(root)


def make_workspace(root: Path) -> Workspace:
    """The workspace at `root`, made if absent.

    Raises:
        WorkspaceError: it cannot be written to.
    """
    probe = root / ".writable"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise WorkspaceError(f"{root}: the workspace cannot be written ({error.strerror})") from None
    return Workspace(root)
