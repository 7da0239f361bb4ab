"""Slurm's commands, run with a time limit; what they answer when they refuse, told apart.

An unreachable controller is never an answer about a job: callers get `Unreachable` and must leave what they
know as it is.
"""

import os
import re
import subprocess
import time
from collections.abc import Sequence

from cluster import backend
from results.files import WorkspaceError

TIMEOUT_SECONDS = 30.0
ENVIRONMENT = ("SBATCH_", "SQUEUE_", "SACCT_", "SINFO_", "SCANCEL_")


class SlurmError(WorkspaceError):
    """Slurm refused, and trying again would change nothing."""


class Unreachable(SlurmError, backend.Unreachable):
    """The controller (or the accounting daemon) does not answer now; nothing follows about any job."""


class LimitReached(SlurmError, backend.LimitReached):
    """A limit on submitted jobs is reached; fewer jobs, or later, would do."""


class ArrayTooLarge(SlurmError):
    """The array is larger than the controller's MaxArraySize."""


_BUSY = re.compile(
    r"unable to contact slurm|connect failure|socket timed out|connection refused|temporarily unable|"
    r"resource temporarily unavailable|communication|zero bytes|timed out|unable to establish|slurmdbd",
    re.IGNORECASE,
)
_NAMED_LIMIT = re.compile(r"\b(?:QOS|Assoc)\w*Limit\b", re.IGNORECASE)
"""The reason that Slurm names before its general word about policies; one on the size of jobs is for good."""
_LIMIT = re.compile(r"job submit limit|MaxJobCount|too many jobs", re.IGNORECASE)
_ARRAY = re.compile(r"invalid job array|array.*too large|MaxArraySize", re.IGNORECASE)

_HINTS = (
    (r"invalid partition", "the profile names a partition that does not exist; `sinfo -s` lists them"),
    (
        r"invalid account",
        "the account in the profile is refused; `sacctmgr show assoc user=$USER` lists yours",
    ),
    (r"invalid qos", "the qos in the profile is refused; `sacctmgr show assoc user=$USER` lists yours"),
    (
        r"node configuration is not available",
        "no node of the partition has so many cores, GPUs or so much memory",
    ),
    (r"QOS\w*Limit|Assoc\w*Limit", "a job of this size is more than your account or QOS allows"),
    (
        r"requested time limit",
        "the time limit is longer than the partition allows; set `hours` in the profile",
    ),
    (r"invalid feature", "the constraint in the profile names a feature that no node has"),
    (r"unrecognized option|invalid option", "the profile's `sbatch` section has an option that sbatch lacks"),
)


def run(command: Sequence[str], timeout: float = TIMEOUT_SECONDS) -> str:
    """The standard output of one of Slurm's commands.

    Variables such as SQUEUE_FORMAT, with which users change what the commands print, are taken out.

    Raises:
        Unreachable: it did not answer, or not in time.
        SlurmError: it is not installed, or refused.
    """
    try:
        done = subprocess.run(
            list(command),
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env=clean_environment(),
        )
    except FileNotFoundError:
        raise SlurmError(f"{command[0]} is not installed here: is this a node of a Slurm cluster?") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{command[0]} did not answer within {timeout:g} s") from None
    if done.returncode:
        raise refusal(command[0], done.stderr or done.stdout)
    return done.stdout


def refusal(command: str, text: str) -> SlurmError:
    """The error that stands for what a command wrote when it failed."""
    said = " ".join(line.strip() for line in text.splitlines() if line.strip()) or "no reason given"
    message = f"{command} refused: {said}"
    named = _NAMED_LIMIT.findall(text)
    if any("submit" in one.lower() for one in named) or (not named and _LIMIT.search(text)):
        return LimitReached(message)
    if _ARRAY.search(text):
        return ArrayTooLarge(message)
    if _BUSY.search(text):
        return Unreachable(message)
    hints = [hint for pattern, hint in _HINTS if re.search(pattern, text, re.IGNORECASE)]
    return SlurmError("; ".join([message, *hints]))


def patiently(command: Sequence[str], tries: int = 4, pause: float = 0.5) -> str:
    """`run`, asked again with growing pauses while the controller does not answer."""
    for attempt in range(tries - 1):
        try:
            return run(command)
        except Unreachable:
            time.sleep(pause * 2**attempt)
    return run(command)


def clean_environment() -> dict[str, str]:
    """This process's environment without the variables that change what Slurm's commands do or print."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT)}
