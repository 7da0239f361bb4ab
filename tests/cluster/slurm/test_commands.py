"""Slurm's words sorted into what a caller can do about them."""

import stat
from pathlib import Path

import pytest

from cluster.slurm import commands
from cluster.slurm.commands import ArrayTooLarge, LimitReached, SlurmError, Unreachable, refusal, run

PREFIX = "sbatch: error: Batch job submission failed: "
POLICY = PREFIX + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Unable to contact slurm controller (connect failure)", Unreachable),
        ("Socket timed out on send/recv operation", Unreachable),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.", Unreachable),
        (PREFIX + "Resource temporarily unavailable", Unreachable),
        (
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\n" + PREFIX + "Job violates accounting/QOS policy",
            LimitReached,
        ),
        (
            "sbatch: error: AssocMaxSubmitJobLimit\n" + PREFIX + "Job violates accounting/QOS policy",
            LimitReached,
        ),
        (
            PREFIX + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            LimitReached,
        ),
        (
            "QOSMaxWallDurationPerJobLimit\n"
            + PREFIX
            + "Job violates accounting/QOS policy (job submit limit, …)",
            SlurmError,
        ),
        (PREFIX + "Invalid job array specification", ArrayTooLarge),
        (PREFIX + "Invalid account or account/partition combination specified", SlurmError),
        ("sbatch: error: invalid partition specified: gone", SlurmError),
    ],
)
def test_refusals(text: str, kind: type[SlurmError]) -> None:
    assert type(refusal("sbatch", text)) is kind


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("invalid partition specified: gone", "`sinfo -s` lists them"),
        ("Invalid account or account/partition combination", "the account in the profile"),
        ("Invalid qos specification", "the qos in the profile"),
        ("Requested node configuration is not available", "no node of the partition"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "set `hours`"),
        ("Invalid feature specification", "the constraint"),
    ],
)
def test_a_refusal_says_what_would_mend_it(text: str, hint: str) -> None:
    assert hint in str(refusal("sbatch", text)) and text in str(refusal("sbatch", text))


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder before all others on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_a_command_that_is_not_there(folder: Path) -> None:
    with pytest.raises(SlurmError, match="no-such-command is not installed here"):
        run(["no-such-command"])


def test_a_command_that_hangs_is_unreachable(folder: Path) -> None:
    script(folder, "squeue", "sleep 5")
    with pytest.raises(Unreachable, match="did not answer"):
        run(["squeue"], timeout=0.2)


def test_a_users_formats_do_not_reach_the_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(folder, "squeue", 'echo "${SQUEUE_FORMAT-none} $SLURM_CONF"')
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    monkeypatch.setenv("SLURM_CONF", "here")
    assert run(["squeue"]) == "none here\n"


def test_a_busy_controller_is_asked_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(
        folder,
        "squeue",
        f"[ -e {folder}/asked ] && echo yes && exit; touch {folder}/asked; "
        'echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1',
    )
    monkeypatch.setattr(commands.time, "sleep", lambda seconds: None)
    assert commands.patiently(["squeue"]) == "yes\n"


def test_a_controller_that_stays_away_is_unreachable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(folder, "squeue", 'echo "Unable to contact slurm controller" >&2; exit 1')
    monkeypatch.setattr(commands.time, "sleep", lambda seconds: None)
    with pytest.raises(Unreachable):
        commands.patiently(["squeue"])
