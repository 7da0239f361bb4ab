"""Driver records: `drivers/<submission>.json`, written before the driver's job is submitted, kept by the driver."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from results.files import WorkspaceError, json_bytes, read_json, write_atomic
from results.layout import Workspace
from workers.processes import ProcessIdentity


@dataclass(frozen=True)
class DriverRecord:
    """One driver: the Ray job `job` at `address` that looks after a submission.

    `process` is its identity once it runs (see `ProcessIdentity.as_record`). `actors` counts its actors by shape,
    `waiting` those that Ray could not place yet. `trouble` says what keeps it from going on, `over` that it ended.
    """

    submission: str
    job: str
    address: str
    process: Mapping[str, Any] = field(default_factory=dict)
    actors: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""
    over: bool = False
    created: float = field(default_factory=time.time)

    def write(self, workspace: Workspace) -> None:
        """Write the record."""
        write_atomic(workspace.drivers / f"{self.submission}.json", json_bytes(asdict(self)))

    def with_(self, **changes: Any) -> "DriverRecord":
        """The record with some fields changed."""
        return replace(self, **changes)

    def forget(self, workspace: Workspace) -> None:
        """Take the record back: the cluster refused."""
        (workspace.drivers / f"{self.submission}.json").unlink(missing_ok=True)

    @property
    def runs_here(self) -> bool | None:
        """What this machine's process table says; None for a driver elsewhere, or one that has not begun."""
        return ProcessIdentity.from_record(self.process).lives() if self.process else None


def read_driver(workspace: Workspace, submission: str) -> DriverRecord:
    """The record of one submission's driver.

    Raises:
        FileNotFoundError: there is none.
        WorkspaceError: its file is damaged.
    """
    try:
        return DriverRecord(**read_json(workspace.drivers / f"{submission}.json"))
    except TypeError as error:
        raise WorkspaceError(f"drivers/{submission}.json cannot be used: {error}") from None


def read_drivers(workspace: Workspace) -> Iterator[DriverRecord]:
    """Every driver record that can be read, oldest first."""
    for path in sorted(workspace.drivers.glob("*.json")):
        try:
            yield read_driver(workspace, path.stem)
        except (WorkspaceError, FileNotFoundError):
            continue
