"""The most memory that this process has held: of its machine as the kernel counts it, of its GPUs as torch does."""

import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Peak:
    """The most bytes held: by all processes of a stage on their machine, and on the fullest GPU (None without)."""

    host: int
    gpu: int | None

    @classmethod
    def of_this_process(cls) -> "Peak":
        """Since `forget_peak_memory`."""
        return cls(peak_memory(), peak_gpu_memory())

    def beside(self, other: "Peak") -> "Peak":
        """This one's and another process's: they share the machine, and each has a GPU of its own."""
        gpus = [one.gpu for one in (self, other) if one.gpu is not None]
        return Peak(self.host + other.host, max(gpus, default=None))


def forget_peak_memory() -> None:
    """Count this process's peaks anew, where the kernel can, and on every GPU in use.

    What an earlier stage left to the allocator of a GPU goes back first: it is not of the next one.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    cuda = _cuda_in_use()
    if cuda is None:
        return
    cuda.empty_cache()
    for device in range(cuda.device_count()):
        cuda.reset_peak_memory_stats(device)


def peak_memory() -> int:
    """The most memory that the process has held since `forget_peak_memory`, in bytes."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_gpu_memory() -> int | None:
    """The most bytes that torch's allocator took of one GPU since `forget_peak_memory`; None without a GPU in use.

    What it took, fragments among it, not what tensors held: so much the GPU must have.
    """
    cuda = _cuda_in_use()
    if cuda is None:
        return None
    return max((int(cuda.max_memory_reserved(device)) for device in range(cuda.device_count())), default=None)


def _cuda_in_use() -> Any | None:
    """torch's CUDA where this process has begun to use it; asking does not begin it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
