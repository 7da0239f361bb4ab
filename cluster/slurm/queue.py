"""What Slurm knows of jobs: the queue now (squeue), and how jobs ended (sacct), as far as it is told.

squeue is the controller's own word. sacct lags by seconds, knows nothing of elements that never started, and is
absent on some clusters; a job's end is taken from it only when squeue has lost the job.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cluster.slurm.commands import SlurmError, patiently, run

LIVE = frozenset(
    {
        "PENDING",
        "RUNNING",
        "SUSPENDED",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "SPECIAL_EXIT",
        "RESIZING",
        "SIGNALING",
        "STAGE_OUT",
        "STOPPED",
        "RESV_DEL_HOLD",
    }
)
"""States in which a job runs or will run. COMPLETING is over for our purpose: its work has ended."""
STARTED = frozenset(["RUNNING", "SUSPENDED", "SIGNALING", "STOPPED", "STAGE_OUT", "RESIZING"])
FIELDS = {
    "ArrayJobID": 24,
    "ArrayTaskID": 24,
    "Name": 256,
    "State": 24,
    "Reason": 200,
    "NodeList": 400,
    "RestartCnt": 16,
}
"""What squeue is asked for, and how wide: it cuts what is longer."""
SEPARATOR = "|"
CHUNK = 400


class Element(NamedTuple):
    """One job of the queue; of an array, one element. `task` is 0 for a job that is no array."""

    job: str
    task: int
    name: str
    state: str
    reason: str
    node: str
    restarts: int

    @property
    def id(self) -> str:
        """As a person would name it to scontrol: `123_4`."""
        return f"{self.job}_{self.task}"

    @property
    def alive(self) -> bool:
        """Whether it runs or will run."""
        return self.state in LIVE

    @property
    def stuck(self) -> bool:
        """Whether Slurm holds it because a node that came back could not start it: it would wait for ever."""
        return launch_failed(self.reason)


def launch_failed(reason: str) -> bool:
    """Whether Slurm's reason says that a job is held because a node could not start it."""
    return "launch" in reason.lower() and "held" in reason.lower()


class Ended(NamedTuple):
    """One run of a job, from the accounting: times are `YYYY-MM-DDTHH:MM:SS` or `Unknown`."""

    job: str
    state: str
    exit_code: str
    start: str
    end: str
    nodes: str


def read_queue(user: str | None = None) -> list[Element]:
    """Every job of the user that the controller still lists, one row for each array element.

    Raises:
        Unreachable: the controller does not answer.
    """
    layout = ",".join(f"{field}:{width}{SEPARATOR}" for field, width in FIELDS.items())
    who = ["--user", user] if user else ["--me"]
    text = patiently(["squeue", "--noheader", "--array", "--states=all", *who, "-O", layout])
    rows = [line.split(SEPARATOR) for line in text.splitlines()]
    return [_element(row) for row in rows if len(row) > len(FIELDS)]


def read_accounting(jobs: Iterable[str]) -> dict[str, list[Ended]]:
    """How the elements of the jobs `123` ended, by `123_4`: each run of a requeued one, oldest first.

    Nothing where there is no accounting, or it does not answer.
    """
    found: dict[str, list[Ended]] = {}
    asked = sorted(set(jobs))
    for start in range(0, len(asked), CHUNK):
        for row in _accounted(asked[start : start + CHUNK]):
            found.setdefault(row.job, []).append(row)
    return found


def _accounted(jobs: list[str]) -> list[Ended]:
    """Rows of the accounting; none where there is no accounting, or it does not answer."""
    command = [
        "sacct",
        "--noheader",
        "--parsable2",
        "--allocations",
        "--duplicates",
        "--jobs",
        ",".join(jobs),
    ]
    try:
        text = run([*command, "--format=JobID,State,ExitCode,Start,End,NodeList"])
    except SlurmError:
        return []
    rows = [line.split("|") for line in text.splitlines()]
    return [_ended(row) for row in rows if len(row) == len(Ended._fields)]


def _ended(row: list[str]) -> Ended:
    job, state, *rest = row
    return Ended(job, state.split()[0] if state else "", *rest)


def _element(row: list[str]) -> Element:
    job, task, name, state, reason, node, restarts = (field.strip() for field in row[: len(FIELDS)])
    return Element(job, _number(task), name, state, reason, node, _number(restarts))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


@dataclass(frozen=True)
class Queue:
    """A picture of the queue at one moment, by array job and by name."""

    elements: tuple[Element, ...]

    @classmethod
    def read(cls) -> "Queue":
        """Ask the controller.

        Raises:
            Unreachable: it does not answer.
        """
        return cls(tuple(read_queue()))

    def of(self, job: str | None, name: str) -> list[Element]:
        """The elements of an array job called `name`; where its number is not known, found by the name alone.

        The name must fit in any case: a controller that lost its state hands out the same number again.
        """
        return [one for one in self.elements if one.name == name and job in (None, one.job)]

    @property
    def submitted(self) -> int:
        """How many jobs count against the user's limit on submitted jobs."""
        return sum(one.alive or one.state == "COMPLETING" for one in self.elements)
