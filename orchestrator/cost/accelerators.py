"""What computes: a table of GPU types, one CPU thread, and how long work takes on them.

Time is a roofline. Matrix products run at `utilisation` of the peak, or as fast as their weights arrive from
memory; everything else moves bytes at a fixed share of the bandwidth. A GPU does both in a row while the host
launches kernels ahead of it, so it waits for the host only where kernels are too short.
"""

from dataclasses import dataclass, replace

from workers.recipe import Resources

STREAMING = 0.8
"""The share of the memory bandwidth that long element-wise kernels reach."""

A100_UTILISATION = 0.35
H100_UTILISATION = 0.28


@dataclass(frozen=True)
class Work:
    """What a piece of computing asks for; works of equal shape add up.

    `operations` are multiplications and additions of matrix products, `weights` the bytes of weights that these
    read, `traffic` the bytes that all other kernels read and write, `kernels` how many are launched.
    """

    operations: float = 0.0
    weights: float = 0.0
    traffic: float = 0.0
    kernels: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.operations + other.operations,
            self.weights + other.weights,
            self.traffic + other.traffic,
            self.kernels + other.kernels,
        )

    def __mul__(self, times: float) -> "Work":
        return Work(self.operations * times, self.weights * times, self.traffic * times, self.kernels * times)


@dataclass(frozen=True)
class Accelerator:
    """One GPU, or one CPU thread.

    `peak` is in operations a second (dense bfloat16 of a GPU), `bandwidth` in bytes a second, `memory` in GB.
    `utilisation` is the one figure that is fitted: the share of the peak that matrix products reach.
    `kernel_seconds` is what the host needs to launch a kernel; where the host computes itself, nothing overlaps.
    `copies` are those of the weights that several together read, each its own.
    """

    name: str
    memory: float
    peak: float
    bandwidth: float
    utilisation: float
    kernel_seconds: float = 1.5e-5
    is_host: bool = False
    copies: float = 1.0

    def seconds(self, work: Work) -> float:
        """The time that `work` takes."""
        products = max(
            work.operations / (self.peak * self.utilisation), work.weights * self.copies / self.bandwidth
        )
        device = products + work.traffic / (self.bandwidth * STREAMING)
        host = work.kernels * self.kernel_seconds
        return device + host if self.is_host else max(device, host)

    def times(self, count: float) -> "Accelerator":
        """A part of one, or several that share the work; what they tell each other is not counted."""
        if count == 1:
            return self
        copies = 1.0 if self.is_host else max(1.0, count)  # threads read the same weights
        return replace(self, peak=self.peak * count, bandwidth=self.bandwidth * count, copies=copies)


GPUS = (
    Accelerator("A10 24GB", 24, 1.25e14, 6.0e11, A100_UTILISATION),
    Accelerator("A100 40GB", 40, 3.12e14, 1.555e12, A100_UTILISATION),
    Accelerator("A100 80GB", 80, 3.12e14, 2.039e12, A100_UTILISATION),
    Accelerator("H100 80GB", 80, 9.89e14, 3.35e12, H100_UTILISATION),
    Accelerator("H200 141GB", 141, 9.89e14, 4.8e12, H100_UTILISATION),
)
"""GPU types, the smallest first. Peaks, bandwidths and sizes are those of NVIDIA's data sheets of the SXM boards
(A10: PCIe), without sparsity. The A100's two sizes hold one chip and so one utilisation, fitted to published times
(docs/cost.md); the A10's is taken over from it, and the H100's and H200's is four fifths of it, since their products
outgrow the memory and the host that feed them: neither has been measured."""

CPU = Accelerator("CPU thread", 0, 1.2e11, 1.0e10, 0.5, 7e-6, is_host=True)
"""One thread with 512-bit vectors in float32, fitted to the tiny scale's measured stages (docs/measured.md)."""


def accelerator_for(resources: Resources, threads: int) -> Accelerator:
    """What a stage with `resources` computes on: the smallest GPU that has the memory, else CPU threads.

    Where no GPU of the table is large enough, the largest stands in for it.
    """
    if not resources.gpus:
        return CPU.times(threads)
    needed = resources.gpu_memory_gb or 40
    return next((gpu for gpu in GPUS if gpu.memory >= needed), GPUS[-1]).times(resources.gpus)
