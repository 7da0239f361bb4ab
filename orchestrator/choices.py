"""What a grid leaves to the plan with `auto`, chosen from what stages need: micro-batch, GPUs and their memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from orchestrator.cost import Architecture, accelerator_for, expected_seconds
from orchestrator.cost.calibration import Calibration, Likeness
from orchestrator.cost.memory import Need, stage_need
from orchestrator.cost.memory.batches import divided_batch
from workers.kinds import Kind
from workers.objections import objection
from workers.recipe import Execution, Recipe, Resources, Strategy
from workers.strategies import with_processes

AUTO = "auto"
AUTOMATIC: Mapping[str, tuple[str, ...]] = {
    "resources": ("gpus", "gpu_memory_gb"),
    "execution": ("micro_batch",),
}
"""Settings of a stage that may be `auto`, by their section of a grid."""
COUNTS = (1, 2, 4, 8)
"""Numbers of GPUs that are tried, the fewest first: fewer GPUs, fewer GPU-hours."""
DIVIDING: tuple[Strategy, ...] = ("deepspeed-zero2", "deepspeed-zero3")
"""Strategies by which several GPUs hold what one cannot, the one that tells less first."""
SIZES = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 24.0, 32.0, 40.0, 48.0, 64.0, 80.0)
"""GB that a stage is given of a GPU: few different ones, so that stages share workers."""


@dataclass(frozen=True)
class OpenStage:
    """A stage of which the grid leaves the settings named in `left` to the plan; what it does not leave is given."""

    kind: Kind
    recipe: Recipe
    shape: Architecture
    parents: Sequence[tuple[str, Recipe]]
    resources: Resources
    execution: Execution
    left: frozenset[str]
    calibration: Calibration

    def choose(self) -> tuple[Resources, Execution]:
        """The fewest GPUs that hold the stage, and the micro-batch with which it is expected to be fastest.

        Where the number of GPUs is left, a micro-batch that is given is the most that may be: a smaller one is taken
        before another GPU. A stage whose memory is not counted gets one GPU, and its batch whole.

        Raises:
            ValueError: settings contradict each other, the size of the GPUs is neither given nor left, or no number
                of GPUs holds the stage.
        """
        self._check()
        resources, execution = self._division()
        if "micro_batch" in self.left:
            execution = _with_micro_batch(execution, self._fastest(resources, execution))
        elif "gpus" in self.left:
            execution = _with_micro_batch(execution, self._at_most(resources, execution))
        if "gpu_memory_gb" in self.left and resources.gpus:
            resources = resources.model_copy(update={"gpu_memory_gb": self._size(resources, execution)})
        return resources, execution

    def _check(self) -> None:
        if not self.left or not self._on_gpus:
            return
        if self.resources.gpu_memory_gb is None and "gpu_memory_gb" not in self.left:
            names = " and ".join(f"`{name}: auto`" for name in sorted(self.left))
            raise ValueError(f"{names} can be chosen only where `gpu_memory_gb` is known; give it, or 'auto'")
        if "gpus" in self.left and self.execution.processes > 1:
            raise ValueError(
                "`gpus: auto` and `processes` exclude each other: there is one process for each GPU"
            )

    @property
    def _on_gpus(self) -> bool:
        return self.execution.device != "cpu" and bool(self.resources.gpus or "gpus" in self.left)

    def _division(self) -> tuple[Resources, Execution]:
        if "gpus" not in self.left or not self._on_gpus:
            return self.resources, with_processes(self.execution, self.resources)
        last: tuple[Resources, Need] | None = None
        for resources, execution in self._divisions():
            need = self._need(resources, _with_micro_batch(execution, 1))
            if need is None or need.fits:
                return resources, execution
            last = (resources, need)
        if last is None:  # no strategy suits the stage, which is then refused as it is given
            return self.resources, with_processes(self.execution, self.resources)
        raise ValueError(_held_nowhere(*last))

    def _divisions(self) -> Iterator[tuple[Resources, Execution]]:
        """Numbers of GPUs with a strategy that the stage can run under, one GPU in any case.

        `cpus` and `memory_gb` are for each GPU.
        """
        given = self.resources
        for count in COUNTS:
            each = {"gpus": float(count), "cpus": count * given.cpus, "memory_gb": count * given.memory_gb}
            resources = given.model_copy(update=each)
            for strategy in self._strategies(count):
                tried = self.execution.model_copy(update={"strategy": strategy})
                execution = with_processes(tried, resources)
                if strategy == "single" or objection(self.kind, self.recipe, execution) is None:
                    yield resources, execution

    def _strategies(self, count: int) -> tuple[Strategy, ...]:
        given = self.execution.strategy
        if count == 1 and self.execution.offload == "none":
            return ("single",)
        return DIVIDING if given == "single" else (given,)

    def _need(self, resources: Resources, execution: Execution) -> Need | None:
        """What the stage needs; of GPUs whose memory is left to the plan, of the largest."""
        asked = resources
        if "gpu_memory_gb" in self.left and resources.gpus:
            asked = resources.model_copy(update={"gpu_memory_gb": SIZES[-1]})
        device = accelerator_for(asked, self.recipe.threads)
        likeness = Likeness.of(self.kind.name, self.recipe, device, self.shape)
        correct = partial(self.calibration.gigabytes, likeness)
        return stage_need(
            self.kind.name, self.recipe, self.shape, asked, execution, self.parents, correct=correct
        )

    def _at_most(self, resources: Resources, execution: Execution) -> int | None:
        """The given micro-batch, or the largest below it that fits."""
        need = self._need(resources, execution)
        if need is None or need.fits or need.micro_batch is None:
            return execution.micro_batch
        return max(1, need.micro_batch)

    def _fastest(self, resources: Resources, execution: Execution) -> int | None:
        """Of the micro-batches that fit the one that is expected to be fastest, of equally fast ones the largest."""
        need = self._need(resources, execution)
        if need is None or need.micro_batch is None:
            return None
        batch = (divided_batch(self.kind.name, self.recipe) or 1) // execution.processes
        sizes = [size for size in range(1, need.micro_batch + 1) if batch % size == 0] or [1]
        return min(sizes, key=lambda size: (self._seconds(resources, execution, size), -size))

    def _seconds(self, resources: Resources, execution: Execution, micro_batch: int) -> float:
        return expected_seconds(
            self.kind,
            self.recipe,
            architecture=self.shape,
            resources=resources,
            execution=_with_micro_batch(execution, micro_batch),
            parents=self.parents,
        )

    def _size(self, resources: Resources, execution: Execution) -> float | None:
        """What the stage needs of each GPU, rounded up; the largest where that is not enough."""
        need = self._need(resources, execution)
        if need is None:
            return None
        whole = need.gigabytes / min(1.0, resources.gpus)
        return next((size for size in SIZES if size >= whole), SIZES[-1])


def described(left: frozenset[str], resources: Resources, execution: Execution) -> str:
    """What was chosen, in words: `2 GPUs (deepspeed-zero2), micro-batch 4`; empty where nothing was."""
    words = []
    if "gpus" in left and resources.gpus:
        together = "" if execution.strategy == "single" else f" ({execution.strategy})"
        words.append(f"{resources.gpus:g} GPU{'s' if resources.gpus > 1 else ''}{together}")
    if "gpu_memory_gb" in left and resources.gpu_memory_gb is not None:
        words.append(f"{resources.gpu_memory_gb:g} GB of a GPU")
    if (words and "gpus" in left) or "micro_batch" in left:
        words.append(f"micro-batch {execution.micro_batch or 'whole'}")
    return ", ".join(words)


def _with_micro_batch(execution: Execution, size: int | None) -> Execution:
    return execution.model_copy(update={"micro_batch": size})


def _held_nowhere(resources: Resources, need: Need) -> str:
    gpus = "one GPU" if resources.gpus == 1 else f"{resources.gpus:g} GPUs"
    return (
        f"`gpus: auto`: {gpus} of {need.has:g} GB cannot hold it, with a micro-batch of 1 it needs "
        f"{need.gigabytes:.1f} GB of each; it takes larger GPUs, an adapter or fewer bits"
    )
