"""What measured attempts say of estimates: by which factor stages like one took longer, and held more, than counted."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from orchestrator.cost.accelerators import CPU, Accelerator
from orchestrator.cost.architecture import Architecture

COMPARABLE = 10.0
"""How many times longer or shorter than an attempt a stage may be for the attempt to say something of its time: what
every stage costs beside its passes (data, set-up) weighs otherwise in much shorter ones."""
AS_LARGE = 4.0
"""The same of memory, of which every process takes a part beside what is counted."""
ROUNDED = ("weights", "activations", "gradients", "first_moment", "second_moment")
"""What quantized pre-training rounds, each with kernels of its own."""

Group = tuple[Any, ...]


@dataclass(frozen=True)
class Likeness:
    """What makes stages alike: kind, what a plan takes their device for, what they do there, the model's shape."""

    kind: str
    device: str
    work: tuple[str, ...]
    shape: Architecture

    @classmethod
    def of(cls, kind: str, recipe: Any, device: Accelerator, shape: Architecture) -> "Likeness":
        """The likeness of a stage that would compute on `device`."""
        return cls(kind, device.name, _work(recipe), shape)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Those whose attempts say something of its time, the closest first."""
        near = (self.kind, self.device, self.work)
        return ((*near, self.shape), near, (self.kind, self.device))

    @property
    def memory_groups(self) -> tuple[Group, ...]:
        """Those whose attempts say something of its memory: GPUs of every type hold alike."""
        near = (self.kind, "memory", self.device == CPU.name, self.work)
        return ((*near, self.shape), near)


@dataclass(frozen=True)
class Sample:
    """One attempt that ended well: its seconds and its GB of memory, as counted and as measured."""

    likeness: Likeness
    counted: float
    seconds: float
    counted_gigabytes: float | None = None
    gigabytes: float | None = None


class Calibration:
    """Corrects estimates by samples; without any that are alike, they stay as they are."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._groups: dict[Group, list[Sample]] = defaultdict(list)
        self._applied: dict[int, Sample] = {}
        for sample in samples:
            for group in (*sample.likeness.groups, *sample.likeness.memory_groups):
                self._groups[group].append(sample)

    @property
    def applied(self) -> int:
        """How many attempts have corrected something so far."""
        return len(self._applied)

    def seconds(self, likeness: Likeness, counted: float) -> float:
        """`counted` seconds times the median factor of the closest stages that are comparably long."""
        found = self._closest(
            likeness.groups,
            lambda one: one.counted > 0 and 1 / COMPARABLE <= counted / one.counted <= COMPARABLE,
        )
        return counted * median(one.seconds / one.counted for one in found) if found else counted

    def gigabytes(self, likeness: Likeness, counted: float) -> float:
        """`counted` GB times the largest factor of the closest stages that are about as large, never less.

        What is counted is a bound: every row as long as its recipe allows. An attempt that held less had shorter
        rows, which another's need not be.
        """
        found = self._closest(likeness.memory_groups, lambda one: _about_as_large(one, counted))
        factors = [(one.gigabytes or 0.0) / (one.counted_gigabytes or 1.0) for one in found]
        return counted * max(1.0, *factors) if factors else counted

    def _closest(self, groups: Iterable[Group], says: Callable[[Sample], bool]) -> list[Sample]:
        for group in groups:
            found = [one for one in self._groups.get(group, ()) if says(one)]
            if found:
                self._applied.update({id(one): one for one in found})
                return found
        return []


def _about_as_large(sample: Sample, counted: float) -> bool:
    if not sample.counted_gigabytes or sample.gigabytes is None:
        return False
    return 1 / AS_LARGE <= counted / sample.counted_gigabytes <= AS_LARGE


def _work(recipe: Any) -> tuple[str, ...]:
    """What else decides which kernels run: benchmarks, analyses, an adapter, what is kept or rounded in fewer bits."""
    tasks = sorted({str(one.task) for one in getattr(recipe, "benchmarks", ())})
    analyses = sorted(getattr(recipe, "analyses", ()))
    adapter = getattr(recipe, "adapter", None)
    bits = getattr(recipe, "quantization", None) or getattr(adapter, "quantization", None)
    rounded = [f"{name} in fewer bits" for name in ROUNDED if getattr(bits, name, None) is not None]
    stored = ["stored in fewer bits"] if hasattr(bits, "format") else []
    return (*tasks, *analyses, *(["adapter"] if adapter is not None else []), *stored, *rounded)
