"""The warm actor: a supervisor with its warm child, on the resources that Ray gave it.

The actor itself is light (no torch); the child sees the GPUs of the actor. It runs one stage at a time, while a
second thread takes the request to stop.
"""

import os
import signal
from pathlib import Path
from typing import Any

from results.layout import Workspace
from workers.submission import Submission
from workers.supervisor import Supervisor

THREADS = 2


class WarmActor:
    """Runs the stages of one submission that the driver hands to it; dies with the driver.

    Raises:
        WorkspaceError: the submission is damaged.
        FileNotFoundError: this node does not see the workspace.
    """

    def __init__(self, root: str, submission: str, bundle: int, name: str, job: str, beside: float) -> None:
        workspace = Workspace(Path(root))
        found = Submission.read(workspace, submission)
        self._supervisor = Supervisor(workspace, found, bundle, name, job, node=node_name())
        self._supervisor.open()
        if beside < 1:
            os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
        self._supervisor.warm()

    def place(self) -> dict[str, Any]:
        """Where it runs: node, process, devices."""
        return {
            "node": node_name(),
            "process": os.getpid(),
            "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }

    def take(self, number: int) -> bool:
        """Run stage `number` to the end of its attempt; tell whether it was free to be claimed."""
        return self._supervisor.take(number)

    def stop(self) -> None:
        """Have the running stage save itself and end as preempted."""
        self._supervisor.stop = "preempted"
        self._supervisor.stopped_by = signal.SIGTERM

    def close(self) -> None:
        """End the child and take leave of the workspace."""
        self._supervisor.close()


def node_name() -> str:
    """The node of the calling actor, as Ray numbers it."""
    import ray

    return str(ray.get_runtime_context().get_node_id())
