"""The `local` backend: supervisors on this machine's cores, detached from the terminal that started them."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from cluster.code import code_environment
from results.files import WorkspaceError, read_json
from results.layout import Workspace
from workers.processes import ProcessIdentity
from workers.submission import Submission, register_supervisor


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class LocalBackend:
    """One supervisor per core that the process may use, or `cores` of them."""

    name: str = "local"
    cores: int = field(default_factory=lambda: int(os.environ.get("YATES_LOCAL_SLOTS", _usable_cores())))
    excluded: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Mapping[str, Any], workspace: Workspace | None) -> "LocalBackend":
        """The backend for any workspace: it has no settings."""
        return cls()

    def settings(self) -> dict[str, Any]:
        """There is nothing to record."""
        return {}

    def slots(self, needs: Mapping[str, Any]) -> int:
        """The number of supervisors that may run at once, of whatever shape."""
        return self.cores

    def limit_seconds(self, needs: Mapping[str, Any]) -> float:
        """The hours that the shape asks for: bundles stay that short, though nothing here ends them."""
        return 3600.0 * float(needs.get("hours", 24.0))

    def memory_limit_gb(self, needs: Mapping[str, Any]) -> float | None:
        """All that this machine has."""
        return float(psutil.virtual_memory().total) / 2**30

    def start(self, workspace: Workspace, submission: Submission) -> int:
        """Start as many supervisors as there are free slots, at least one for each shape. Those that live count.

        A bundle without a supervisor is not lost: the others of its shape take its stages when their own are done.
        """
        free = max(0, self.cores - len(self.live(workspace)))
        firsts = {bundle.shape: number for number, bundle in reversed(list(enumerate(submission.bundles)))}
        others = [number for number in range(len(submission.bundles)) if number not in firsts.values()]
        chosen = [*firsts.values(), *others][: max(free, len(firsts))] if free else []
        for bundle in chosen:
            self._start_one(workspace, submission, bundle)
        return len(chosen)

    def live(self, workspace: Workspace) -> list[str]:
        """Supervisors of this machine whose process runs; files of dead ones are cleared away."""
        names = []
        for path in sorted(workspace.supervisors.glob("*.json")):
            try:
                record = read_json(path)
            except (FileNotFoundError, WorkspaceError):
                continue
            lives = ProcessIdentity.from_record(record).lives()
            if lives:
                names.append(record["name"])
            elif lives is False and record["backend"] == self.name:
                path.unlink(missing_ok=True)
        return names

    def lives(self, record: Mapping[str, Any]) -> bool | None:
        """As the process table says."""
        return ProcessIdentity.from_record(record).lives()

    def covered(self, workspace: Workspace) -> set[str]:
        """Nothing: `start` counts the supervisors that live, and claims keep them apart."""
        return set()

    def settle(self, workspace: Workspace) -> None:
        """Nothing: whoever takes a stage over from a dead process writes down that it was lost."""

    def forgive(self, workspace: Workspace) -> None:
        """Nothing is kept away from."""

    def cancel(self, workspace: Workspace, stages: set[str]) -> int:
        """Nothing waits in a queue; supervisors see the tombstones."""
        return 0

    def refresh(self) -> None:
        """Nothing is remembered."""

    def stop(self, workspace: Workspace) -> int:
        """Send SIGTERM to the live supervisors: they checkpoint, record, and end."""
        count = 0
        for name in self.live(workspace):
            try:
                os.kill(read_json(workspace.supervisors / f"{name}.json")["process"], signal.SIGTERM)
                count += 1
            except (FileNotFoundError, ProcessLookupError):
                continue
        return count

    def _start_one(self, workspace: Workspace, submission: Submission, bundle: int) -> None:
        name = f"{submission.id}-{bundle:04d}"
        workspace.logs.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "workers.supervisor", "--workspace", str(workspace.root.resolve())]
        command += ["--submission", submission.id, "--bundle", str(bundle), "--name", name]
        with open(workspace.logs / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **code_environment(workspace, submission.code)},
            )
        # Registered by its parent at once, so that it takes a slot before it has imported anything.
        with suppress(psutil.NoSuchProcess):
            identity = ProcessIdentity.of(process.pid)
            register_supervisor(workspace, submission, bundle, name, identity)
