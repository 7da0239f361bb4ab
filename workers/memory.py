"""The most memory that this process has held, as the kernel counts it."""

import resource
from contextlib import suppress
from pathlib import Path


def forget_peak_memory() -> None:
    """Have the kernel count this process's peak memory anew, where it can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The most memory that the process has held since `forget_peak_memory`, in bytes."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
