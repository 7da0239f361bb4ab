"""What the submitter sees of a driver's start: that it runs, or why it does not."""

import time

from cluster.backend import Backend, Unreachable
from cluster.ray.backend import RayBackend
from cluster.ray.records import read_driver
from cluster.ray.service import LIVE, RayError
from results.layout import Workspace
from workers.submission import Submission

WAIT_SECONDS = 30.0
POLL_SECONDS = 0.3


def watch_driver(workspace: Workspace, backend: Backend, submission: Submission) -> None:
    """Wait until the driver has begun, for a while; a cluster that is slow to start it is left to itself.

    Raises:
        RayError: the driver ended before it began, with its last words.
    """
    assert isinstance(backend, RayBackend)
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        record = read_driver(workspace, submission.id)
        if record.process:
            return
        try:
            if backend.service.status(record.job) not in (*LIVE, None):
                words = backend.service.last_words(record.job)
                record.with_(over=True, trouble="the driver could not start").write(workspace)
                raise RayError(f"the driver could not start on Ray:\n{words}")
        except Unreachable:
            return
        time.sleep(POLL_SECONDS)
