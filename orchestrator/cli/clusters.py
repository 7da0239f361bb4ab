"""`yates doctor` and `yates profile`: whether this cluster is ready, and what it is like."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options
from results.files import WorkspaceError

Seconds = Annotated[float, typer.Option(help="How long to wait for the small job.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a profile that is there.")]

profile_app = typer.Typer(help="Cluster profiles.", no_args_is_help=True, add_completion=False)


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command("doctor", help="Check the whole chain of a backend with one small job.")(doctor)
    app.add_typer(profile_app, name="profile")


def doctor(
    workspace: options.Root = options.DEFAULT_ROOT,
    on: options.On = "slurm",
    profile: options.Profile = None,
    seconds: Seconds = 120.0,
) -> None:
    """Examine the cluster; exit code 2 when a grid would not run."""
    from cluster.slurm.doctor import examine
    from orchestrator.profiles import load_profile

    if on != "slurm":
        raise WorkspaceError(f"--on {on}: only slurm has a doctor")
    problems = 0
    for finding in examine(options.make_workspace(workspace), load_profile(profile), seconds):
        mark = "ok" if not finding.problem else "PROBLEM" if finding.fatal else "note"
        text = finding.problem or finding.note
        typer.echo(f"{mark:8}{finding.check}{': ' if text else ''}{text}")
        problems += bool(finding.problem) and finding.fatal
    raise typer.Exit(2 if problems else 0)


@profile_app.command("detect", help="Write a first profile of the Slurm cluster at hand.")
def detect(
    name: Annotated[str, typer.Option(help="The profile's name.")] = "default",
    force: Force = False,
) -> None:
    """Write `profiles/NAME.yaml`."""
    from cluster.slurm.detect import detect_profile, profile_text

    path = Path("profiles") / f"{name}.yaml"
    if path.exists() and not force:
        raise WorkspaceError(f"{path} exists; --force writes over it, --name gives another name")
    text = profile_text(detect_profile(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    typer.echo(f"wrote {path}; look it over, then `yates doctor --on slurm --profile {name}`")


@profile_app.command("show", help="Show a profile as it is understood.")
def show(profile: Annotated[str | None, typer.Argument(help="Its name or file.")] = None) -> None:
    """Print the profile with every default."""
    import yaml

    from orchestrator.profiles import load_profile

    values = load_profile(profile).model_dump(mode="json")
    typer.echo(yaml.safe_dump(values, sort_keys=False), nl=False)
