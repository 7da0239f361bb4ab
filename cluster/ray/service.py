"""A Ray cluster as its dashboard serves it: jobs, nodes, versions. Nothing here joins the cluster.

Everything goes over HTTP, so it works from a machine that is no node, and a question costs no worker process.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cluster.backend import Unreachable
from cluster.ray.shapes import Node
from results.files import WorkspaceError

LIVE = ("PENDING", "RUNNING")
OVERRIDES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Ray lets these win over an address that was named."""
MISSING = "Ray is not installed here; `pip install 'yates[ray]'`"
UNMANAGED = "node_"
"""What Ray calls the type of a node that no autoscaler launched: this and the node's id."""
FIRST_NODE_SECONDS = 20.0
AGENT_SECONDS = 30.0
NO_AGENT = "No available agent"
"""What a cluster says whose head has begun, but not yet the part of it that takes jobs."""
STOP_SECONDS = 90
"""How long Ray lets a job that was asked to stop save itself."""


class RayError(WorkspaceError):
    """The Ray cluster refuses, and trying again would change nothing."""


class RayService:
    """The cluster whose dashboard answers at `address` (`http://HEAD:8265`, or what Ray's own tools take).

    Raises:
        RayError: Ray is missing here, or another version than the cluster's.
        Unreachable: nothing answers at the address.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = _connect(address)
        self._check_version()

    def submit(self, job: str, entrypoint: str, environment: Mapping[str, str]) -> None:
        """Start `entrypoint` as the Ray job called `job`; a job of that name is left as it is."""
        stop = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
        deadline = time.monotonic() + AGENT_SECONDS
        while self.status(job) is None:
            try:
                with _answers(self.address):
                    self._client.submit_job(
                        entrypoint=entrypoint,
                        submission_id=job,
                        runtime_env={"env_vars": {**environment, **stop}},
                    )
            except Unreachable as error:
                if NO_AGENT not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def status(self, job: str) -> str | None:
        """`PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED` or `STOPPED`; None for a job that the cluster does not know."""
        with _answers(self.address):
            known = {one.submission_id: str(one.status.value) for one in self._client.list_jobs()}
        return known.get(job)

    def last_words(self, job: str) -> str:
        """The end of what the job printed, and what Ray says of its end."""
        with _answers(self.address):
            message = self._client.get_job_info(job).message or ""
            lines = self._client.get_job_logs(job).strip().splitlines()
        return "\n".join([*lines[-8:], message])

    def stop(self, job: str) -> bool:
        """Ask a job to stop; tell whether it ran."""
        if self.status(job) not in LIVE:
            return False
        with _answers(self.address):
            return bool(self._client.stop_job(job))

    def nodes(self) -> list[Node]:
        """The nodes that live now; of a cluster that has just been started, once it has one.

        Raises:
            Unreachable: it has none.
        """
        deadline = time.monotonic() + FIRST_NODE_SECONDS
        while not (found := self._nodes()):
            if time.monotonic() > deadline:
                raise Unreachable(f"the Ray cluster at {self.address} has no live node")
            time.sleep(0.3)
        return found

    def _nodes(self) -> list[Node]:
        from ray.util.state import list_nodes

        with _answers(self.address), _own_address():
            listed = list_nodes(address=self._url, detail=True, raise_on_missing_output=False)
        return [
            Node(one.node_id, one.node_name or one.node_ip, dict(one.resources_total or {}))
            for one in listed
            if one.state == "ALIVE"
        ]

    def autoscales(self) -> bool:
        """Whether an autoscaler may add nodes that are not there yet."""
        with _answers(self.address):
            answer = self._client._do_request("GET", "/api/cluster_status")
            answer.raise_for_status()
            status = answer.json()["data"].get("clusterStatus") or {}
        types = (status.get("autoscalerReport") or {}).get("nodeTypeMapping") or {}
        return any(not name.startswith(UNMANAGED) for name in types.values())

    def _check_version(self) -> None:
        import ray

        with _answers(self.address):
            answer = self._client._do_request("GET", "/api/version")
            answer.raise_for_status()
            there = answer.json()["ray_version"]
        if there != ray.__version__:
            raise RayError(
                f"the Ray cluster at {self.address} runs Ray {there}, this environment has {ray.__version__}; "
                f"its nodes and this environment must have the same: `pip install 'ray[default,tune]=={there}'`"
            )

    @property
    def _url(self) -> str:
        return str(self._client.get_address())


def _connect(address: str) -> Any:
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise RayError(f"--on ray: {MISSING} ({error})") from None
    with _answers(address), _own_address():
        return JobSubmissionClient(address)


@contextmanager
def _own_address() -> Iterator[None]:
    """Ray's environment variables out of the way, for they would win over the address that was asked for."""
    held = {name: os.environ.pop(name) for name in OVERRIDES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)


@contextmanager
def _answers(address: str) -> Iterator[None]:
    """Turn Ray's many ways of saying that nobody answers into one."""
    try:
        yield
    except WorkspaceError:
        raise
    except Exception as error:
        if type(error).__name__ == "AuthenticationError":
            raise RayError(
                f"the Ray cluster at {address} wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or "
                "RAY_AUTH_TOKEN_PATH as its administrator says"
            ) from None
        if not isinstance(error, (OSError, RuntimeError, ValueError)):
            raise
        raise Unreachable(_silence(address, error)) from None


def _silence(address: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return (
        f"no Ray cluster answers at {address} ({reason}); name its dashboard, as in --address http://HEAD:8265, "
        "or leave --address away to start Ray on this machine"
    )
