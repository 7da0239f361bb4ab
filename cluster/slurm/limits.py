"""How many jobs the cluster lets this user submit, from the controller's configuration and the accounting."""

import getpass
import re
from dataclasses import dataclass

from cluster.profile import Profile
from cluster.slurm.commands import SlurmError, patiently, run

DEFAULT_ARRAY_SIZE = 1001
SHOW = ("sacctmgr", "--noheader", "--parsable2", "show")


@dataclass(frozen=True)
class Limits:
    """`array_size` is the most elements of one array; `submitted` the most jobs in the queue (None: no limit known)."""

    array_size: int
    submitted: int | None

    def free(self, in_queue: int) -> int | None:
        """How many more jobs may be submitted, or None when nothing limits them as far as is known."""
        return None if self.submitted is None else max(0, self.submitted - in_queue)


def read_limits(profile: Profile) -> Limits:
    """The limits that hold for the profile's account and QOS; what the profile says goes first.

    Raises:
        Unreachable: the controller does not answer.
    """
    array_size = profile.max_array_size or _configured_array_size()
    submitted = profile.max_submitted_jobs or _submit_limit(profile)
    return Limits(array_size, submitted)


def _configured_array_size() -> int:
    """MaxArraySize is one more than the largest index, so an array from 0 may hold as many elements as it says."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", patiently(["scontrol", "show", "config"]), re.MULTILINE)
    return max(1, int(found[1])) if found else DEFAULT_ARRAY_SIZE


def _submit_limit(profile: Profile) -> int | None:
    """The smallest limit on submitted jobs of the user's associations and QOS; None without accounting."""
    try:
        associations = run(
            [
                *SHOW,
                "assoc",
                f"user={getpass.getuser()}",
                "format=Account,MaxSubmitJobs,GrpSubmitJobs,DefaultQOS",
            ]
        )
        qualities = run([*SHOW, "qos", "format=Name,MaxSubmitJobsPerUser,GrpSubmitJobs"])
    except SlurmError:
        return None
    rows = [line.split("|") for line in associations.splitlines()]
    rows = [row for row in rows if len(row) == 4 and profile.account in (None, row[0])]
    wanted = {profile.qos} if profile.qos else {row[3] for row in rows}
    numbers = [field for row in rows for field in row[1:3]]
    for row in (line.split("|") for line in qualities.splitlines()):
        if row[0] in wanted:
            numbers += row[1:]
    return min((int(number) for number in numbers if number.isdigit()), default=None)
