"""What measured attempts say of estimates: by which factor stages like one took longer, and held more, than counted."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from orchestrator.cost.accelerators import Accelerator
from orchestrator.cost.architecture import Architecture

COMPARABLE = 10.0
"""How many times longer or shorter than an attempt a stage may be for the attempt to say something of its time: what
every stage costs beside its passes (data, set-up) weighs otherwise in much shorter ones."""

ROUNDED = ("weights", "activations", "gradients", "first_moment", "second_moment")
"""What quantized pre-training rounds, each with kernels of its own."""


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
    def groups(self) -> tuple[tuple[Any, ...], ...]:
        """Those that it belongs to, the closest first."""
        near = (self.kind, self.device, self.work)
        return ((*near, self.shape), near, (self.kind, self.device))


@dataclass(frozen=True)
class Sample:
    """One attempt that ended well: its seconds as counted and as measured, and its memory, measured by counted."""

    likeness: Likeness
    counted: float
    seconds: float
    memory: float | None = None


class Calibration:
    """Factors from samples; without any, every estimate stays as it is."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._groups: dict[tuple[Any, ...], list[Sample]] = defaultdict(list)
        self.attempts = 0
        for sample in samples:
            self.attempts += 1
            for group in sample.likeness.groups:
                self._groups[group].append(sample)

    def seconds(self, likeness: Likeness, counted: float) -> float:
        """`counted` seconds times the median factor of the closest stages that are comparably long."""
        for group in likeness.groups:
            factors = [
                sample.seconds / sample.counted
                for sample in self._groups.get(group, ())
                if sample.counted > 0 and 1 / COMPARABLE <= counted / sample.counted <= COMPARABLE
            ]
            if factors:
                return counted * median(factors)
        return counted

    def memory(self, likeness: Likeness) -> float:
        """The largest factor of the closest stages, at least 1.

        What is counted is a bound: every row as long as its recipe allows. An attempt that held less had shorter
        rows, which another's need not be.
        """
        for group in likeness.groups:
            factors = [sample.memory for sample in self._groups.get(group, ()) if sample.memory is not None]
            if factors:
                return max(1.0, *factors)
        return 1.0


UNCALIBRATED = Calibration()
"""No attempt was measured."""


def _work(recipe: Any) -> tuple[str, ...]:
    """What else decides which kernels run: benchmarks, analyses, an adapter, what is kept or rounded in fewer bits."""
    tasks = sorted({str(one.task) for one in getattr(recipe, "benchmarks", ())})
    analyses = sorted(getattr(recipe, "analyses", ()))
    adapter = getattr(recipe, "adapter", None)
    bits = getattr(recipe, "quantization", None) or getattr(adapter, "quantization", None)
    rounded = [f"{name} in fewer bits" for name in ROUNDED if getattr(bits, name, None) is not None]
    stored = ["stored in fewer bits"] if hasattr(bits, "format") else []
    return (*tasks, *analyses, *(["adapter"] if adapter is not None else []), *stored, *rounded)
