"""Who a process is, and whether it still lives: exact on one machine, unknown from another."""

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that no later process can be mistaken for.

    `boot` changes with each boot of the machine and with each container, `started` is the kernel's start
    time of the process (seconds since the epoch), so a reused process number does not match.
    """

    host: str
    boot: str
    process: int
    started: float

    @classmethod
    def own(cls) -> "ProcessIdentity":
        """The identity of the calling process."""
        return cls(socket.gethostname(), _boot(), os.getpid(), psutil.Process().create_time())

    @classmethod
    def of(cls, process: int) -> "ProcessIdentity":
        """The identity of another live process of this machine.

        Raises:
            psutil.NoSuchProcess: it has ended.
        """
        return cls(socket.gethostname(), _boot(), process, psutil.Process(process).create_time())

    @classmethod
    def from_record(cls, record: Any) -> "ProcessIdentity":
        """Read back what `as_record` gave (also from an attempt record)."""
        return cls(record["host"], record["boot"], record["process"], record["process_started"])

    def as_record(self) -> dict[str, Any]:
        """The identity as JSON-ready fields."""
        fields = asdict(self)
        fields["process_started"] = fields.pop("started")
        return fields

    def lives(self) -> bool | None:
        """True or False when this machine can tell, None for a process of another machine or container."""
        if self.host != socket.gethostname():
            return None
        if _booted_since(self.boot):
            return False
        if self.boot != _boot():
            return None
        try:
            process = psutil.Process(self.process)
            same = abs(process.create_time() - self.started) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def _booted_since(boot: str) -> bool:
    """Whether this machine has booted since it had the boot id in `boot`."""
    theirs, ours = boot.partition("/")[0], _boot().partition("/")[0]
    return bool(theirs and ours and theirs != ours)


def _boot() -> str:
    """The kernel's boot id with the process namespace, or an empty string where there is neither."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""
