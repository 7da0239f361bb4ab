"""The `ray` backend: a submission's driver as a Ray job; on this machine's own Ray where no cluster is named."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.backend import Unreachable
from cluster.code import code_environment
from cluster.losses import end_attempts
from cluster.ray.embedded import NAME, Embedded, embedded_ray
from cluster.ray.records import DriverRecord, read_driver, read_drivers
from cluster.ray.service import LIVE, RayError, RayService
from cluster.ray.shapes import Node, lacking, request_of
from results.files import WorkspaceError, read_json_or_none
from results.journal import Index
from results.layout import Workspace
from workers.processes import ProcessIdentity
from workers.submission import Submission

PASSED_ON = ("YATES_", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables of the submitter's environment that jobs get, by how they begin; a secret is never among them."""
MOST_SLOTS = 10_000


@dataclass
class RayBackend:
    """The Ray cluster at `address`, or with `embedded` the one that is started for the workspace."""

    address: str = NAME
    name: str = "ray"
    excluded: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    workspace: Workspace | None = None
    _service: RayService | None = None
    _nodes: list[Node] | None = None
    _states: dict[str, bool | None] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, Any], workspace: Workspace | None) -> "RayBackend":
        """The backend at the address that a submission recorded."""
        return cls(settings.get("address", NAME), workspace=workspace)

    def settings(self) -> dict[str, Any]:
        """The address, for the submission's record."""
        return {"address": self.address}

    def slots(self, needs: Mapping[str, Any]) -> int:
        """How many actors of a shape the cluster holds at once.

        Raises:
            RayError: no node can ever hold one.
        """
        request = request_of(needs, self.nodes)
        copies = sum(request.copies(node) for node in self.nodes)
        if copies:
            return min(copies, MOST_SLOTS)
        if self.service.autoscales():
            self.notes.append(
                f"no node of the cluster holds this shape today: {lacking(request, self.nodes)}"
            )
            return 1
        where = "this machine" if self.address == NAME else f"the Ray cluster at {self.address}"
        raise RayError(f"{where} can never hold a stage of this grid: {lacking(request, self.nodes)}")

    def limit_seconds(self, needs: Mapping[str, Any]) -> float:
        """Nothing ends an actor; bundles are as long as the work."""
        return float("inf")

    def memory_limit_gb(self, needs: Mapping[str, Any]) -> float | None:
        """The most memory that any node declares."""
        return max((node.resources.get("memory", 0.0) / 2**30 for node in self.nodes), default=None)

    def start(self, workspace: Workspace, submission: Submission) -> int:
        """Submit the driver as a Ray job.

        Raises:
            RayError: the cluster refuses it; nothing was submitted then.
            Unreachable: the cluster does not answer; nothing was submitted then.
        """
        record = DriverRecord(submission.id, f"yates-{submission.id}", self.address)
        record.write(workspace)
        root = str(workspace.root.resolve())
        command = shlex.join([sys.executable, "-m", "cluster.ray.driver", root, submission.id])
        passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        try:
            self.service.submit(
                record.job, command, {**passed, **code_environment(workspace, submission.code)}
            )
        except (RayError, Unreachable):
            record.forget(workspace)
            submission.forget(workspace)
            raise
        return len(submission.bundles)

    def live(self, workspace: Workspace) -> list[str]:
        """The jobs of the drivers that live."""
        return [one.job for one in read_drivers(workspace) if self._driver_lives(one)]

    def lives(self, record: Mapping[str, Any]) -> bool | None:
        """Whether the actor of `supervisors/<name>.json` runs: no actor outlives its driver."""
        known = ProcessIdentity.from_record(record).lives()
        if known is not None or self.workspace is None:
            return known
        try:
            driver = read_driver(self.workspace, record["submission"])
        except (FileNotFoundError, WorkspaceError):
            return None
        return self._driver_lives(driver)

    def covered(self, workspace: Workspace) -> set[str]:
        """The stages of the submissions whose drivers live."""
        found: set[str] = set()
        for driver in read_drivers(workspace):
            if self._driver_lives(driver) is not False:
                found.update(one.stage for one in _submission_stages(workspace, driver.submission))
        return found

    def settle(self, workspace: Workspace) -> None:
        """End what the actors of dead drivers held as lost."""
        gone = [one for one in read_drivers(workspace) if self._driver_lives(one) is False]
        for one in gone:
            if not one.over:
                one.with_(over=True).write(workspace)
        dead = {one.submission for one in gone}
        index = Index(workspace)
        index.refresh()
        for path in sorted(workspace.supervisors.glob("*.json")):
            record = _read_or_none(path)
            if record is not None and record["backend"] == self.name and record["submission"] in dead:
                end_attempts(workspace, index, record["name"], "lost", "its driver is gone")
                path.unlink(missing_ok=True)

    def forgive(self, workspace: Workspace) -> None:
        """Nothing is kept away from: Ray leaves nodes that are down alone."""

    def cancel(self, workspace: Workspace, stages: set[str]) -> int:
        """Nothing waits in a queue; drivers and actors see the tombstones."""
        return 0

    def stop(self, workspace: Workspace) -> int:
        """Stop the drivers: their actors save themselves."""
        alive = [one for one in read_drivers(workspace) if self._driver_lives(one)]
        return sum(self._service_of(one).stop(one.job) for one in alive)

    def refresh(self) -> None:
        """Ask anew next time."""
        self._states, self._nodes = {}, None

    @property
    def nodes(self) -> list[Node]:
        """The nodes of the cluster, asked once."""
        if self._nodes is None:
            self._nodes = self.service.nodes()
        return self._nodes

    @property
    def service(self) -> RayService:
        """The cluster's service; an embedded Ray is started for it.

        Raises:
            RayError: Ray is missing, does not start, or has another version.
            Unreachable: nothing answers at the address.
        """
        if self._service is None:
            self._service = RayService(self._start_if_embedded())
        return self._service

    def _start_if_embedded(self) -> str:
        if self.address != NAME:
            return self.address
        if self.workspace is None:
            raise RayError("--on ray: no workspace is known to start Ray for")
        return embedded_ray(self.workspace).use()

    def _driver_lives(self, driver: DriverRecord) -> bool | None:
        """False for one that is over; else as the process table says, else as Ray says; None while nobody knows."""
        if driver.over:
            return False
        here = driver.runs_here
        if here is not None:
            return here
        if driver.job not in self._states:
            self._states[driver.job] = self._job_lives(driver)
        return self._states[driver.job]

    def _job_lives(self, driver: DriverRecord) -> bool | None:
        if driver.address == NAME and (self.workspace is None or Embedded.read(self.workspace) is None):
            return False
        try:
            return self._service_of(driver).status(driver.job) in LIVE
        except (RayError, Unreachable):
            return None

    def _service_of(self, driver: DriverRecord) -> RayService:
        known = Embedded.read(self.workspace) if self.workspace and driver.address == NAME else None
        return RayService(driver.address if known is None else known.use())


def _submission_stages(workspace: Workspace, identity: str) -> tuple[Any, ...]:
    try:
        return Submission.read(workspace, identity).stages
    except (FileNotFoundError, WorkspaceError, TypeError, KeyError, ValueError):
        return ()


def _read_or_none(path: Any) -> Any:
    try:
        return read_json_or_none(path)
    except WorkspaceError:
        return None
