"""A profile: what one cluster is like, so that a grid need not know.

Partitions by what they hold, account, time limits, and the lines that make a node ready. `orchestrator.profiles`
reads it from YAML; a submission carries a copy, so `yates resume` and the tail job need no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from pydantic import Field

from results.files import WorkspaceError
from workers.recipe import Resources, Settings

FAR_FEWER = 4
"""So many times fewer jobs at once outweigh that larger GPUs are spared."""


class Partition(Settings):
    """One partition and what a node of it holds; None is unknown, and is taken to suffice.

    `gpu_type` is the word that Slurm's `--gpus-per-node=TYPE:N` takes; `hours` is the longest job allowed;
    `nodes` counts the partition's nodes.
    """

    name: str
    gpus: int = Field(default=0, ge=0)
    gpu_type: str | None = None
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    cpus: int | None = Field(default=None, ge=1)
    memory_gb: float | None = Field(default=None, gt=0)
    hours: float | None = Field(default=None, gt=0)
    nodes: int | None = Field(default=None, ge=1)
    network: bool = False

    def lacks(self, needs: Resources) -> str | None:
        """What of `needs` a node of this partition does not have, or None when it has all."""
        if ceil(needs.gpus) > self.gpus:
            return f"it has {self.gpus} GPUs a node, {ceil(needs.gpus)} are needed"
        if needs.gpus and _short(self.gpu_memory_gb, needs.gpu_memory_gb):
            return f"its GPUs have {self.gpu_memory_gb:g} GB, {needs.gpu_memory_gb:g} are needed"
        if _short(self.cpus, needs.cpus):
            return f"it has {self.cpus} cores a node, {needs.cpus} are needed"
        if _short(self.memory_gb, needs.memory_gb):
            return f"it has {self.memory_gb:g} GB a node, {needs.memory_gb:g} are needed"
        if needs.network and not self.network:
            return "its nodes have no network"
        return None

    def serves_like(self, other: "Partition", needs: Resources) -> bool:
        """Whether it gives a job no less time than `other`, and runs not far fewer at once, as far as is known."""
        mine, others = (min(needs.hours, one.hours or needs.hours) for one in (self, other))
        few, many = self.at_once(needs), other.at_once(needs)
        return mine >= others and (few is None or many is None or FAR_FEWER * few >= many)

    def at_once(self, needs: Resources) -> int | None:
        """How many jobs of this shape its nodes hold at once, or None when that is not known."""
        if self.nodes is None:
            return None
        per_node = [self.gpus // ceil(needs.gpus)] if needs.gpus else []
        per_node += [self.cpus // needs.cpus] if self.cpus else []
        per_node += [int(self.memory_gb // needs.memory_gb)] if self.memory_gb else []
        return self.nodes * max(1, min(per_node)) if per_node else None


@dataclass(frozen=True)
class Allocation:
    """What one job of a shape asks for; `gpus` as `--gpus-per-node` takes it."""

    partition: str
    cpus: int
    memory_gb: float
    gpus: str | None
    hours: float


class Profile(Settings):
    """A cluster's settings. Of the partitions that hold a shape the one with the smallest GPUs takes its jobs.

    `setup` lines run in the job's shell before Python (modules, environments); `container` is put before the
    command (`apptainer exec --nv image.sif`); `sbatch` holds further options of sbatch by their long names.
    `cpus_per_gpu` and `memory_gb_per_gpu` raise what a stage asks for where GPUs come with a fixed share of
    a node. `array_throttle` is how many elements of one array may run at once. `signal_seconds` before the
    time limit a job saves itself; `linger_seconds` is how long a job with nothing ready waits for others.
    """

    name: str = "default"
    partitions: tuple[Partition, ...] = Field(min_length=1)
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    hours: float | None = Field(default=None, gt=0)
    cpus_per_gpu: int | None = Field(default=None, ge=1)
    memory_gb_per_gpu: float | None = Field(default=None, gt=0)
    setup: tuple[str, ...] = ()
    container: str | None = None
    python: str | None = None
    array_throttle: int = Field(default=256, ge=1)
    jobs_at_once: int | None = Field(default=None, ge=1)
    max_array_size: int | None = Field(default=None, ge=1)
    max_submitted_jobs: int | None = Field(default=None, ge=2)
    max_gpu_hours: float | None = Field(default=None, gt=0)
    sbatch: dict[str, str | int | bool] = Field(default_factory=dict)
    srun: tuple[str, ...] = ()
    signal_seconds: int = Field(default=90, ge=5)
    linger_seconds: float = Field(default=300.0, ge=0)
    requeue: bool = True
    tail: bool = True
    tail_partition: str | None = None
    mail: str | None = None

    def allocation(self, needs: Mapping[str, Any]) -> Allocation:
        """What a job of the shape `needs` (a dumped `Resources`) asks for.

        Raises:
            WorkspaceError: no partition holds it; the message says of each what it lacks.
        """
        wanted = self._raised(Resources.model_validate(needs))
        partition = self.partition_for(wanted)
        gpus = ceil(wanted.gpus)
        typed = f"{partition.gpu_type}:{gpus}" if partition.gpu_type else str(gpus)
        limits = [limit for limit in (self.hours, partition.hours, wanted.hours) if limit is not None]
        return Allocation(partition.name, wanted.cpus, wanted.memory_gb, typed if gpus else None, min(limits))

    def partition_for(self, needs: Resources) -> Partition:
        """The partition for `needs`: of those that hold it the first, unless the memory of GPUs decides.

        Work without GPUs goes to one without, if there is one. Work that says how much of a GPU's memory it needs goes
        to the smallest GPUs that have it, so that larger ones stay free for what needs them: but for partitions that
        would give it less time than the first, or run far fewer of it at once.

        Raises:
            WorkspaceError: there is none.
        """
        fitting = [one for one in self.partitions if one.lacks(needs) is None]
        if not fitting:
            reasons = "; ".join(f"{one.name}: {one.lacks(needs)}" for one in self.partitions)
            raise WorkspaceError(
                f"profile {self.name!r} has no partition for stages of shape {needs.shape} ({reasons})"
            )
        if not needs.gpus:
            return min(fitting, key=lambda one: one.gpus > 0)
        if needs.gpu_memory_gb is None or not all(one.gpu_memory_gb for one in fitting):
            return fitting[0]
        serving = [one for one in fitting if one.serves_like(fitting[0], needs)]
        return min(serving, key=lambda one: one.gpu_memory_gb or 0.0)

    def tail_place(self, hours: float, memory_gb: float) -> tuple[str, float]:
        """The partition of the tail job, and how many hours it may ask for there, at most `hours`."""
        named = [one for one in self.partitions if one.name == self.tail_partition]
        if self.tail_partition and not named:
            return self.tail_partition, min(hours, self.hours or hours)
        partition = named[0] if named else self.partition_for(Resources(memory_gb=memory_gb))
        return partition.name, min(
            limit for limit in (hours, self.hours, partition.hours) if limit is not None
        )

    def at_once(self, needs: Mapping[str, Any]) -> int:
        """How many bundles of a shape are worth making: what runs at once, as far as that is known."""
        wanted = self._raised(Resources.model_validate(needs))
        known = [self.jobs_at_once, self.array_throttle, self.partition_for(wanted).at_once(wanted)]
        return min(limit for limit in known if limit is not None)

    def memory_limit_gb(self, needs: Resources) -> float | None:
        """The most memory that a job of this kind could ask for on any partition that could hold it."""
        smallest = needs.model_copy(update={"memory_gb": 1e-3})
        limits = [one.memory_gb for one in self.partitions if one.lacks(smallest) is None]
        return None if not limits or None in limits else max(limit for limit in limits if limit is not None)

    def _raised(self, needs: Resources) -> Resources:
        """`needs` with the share of a node that comes with its GPUs."""
        gpus = ceil(needs.gpus)
        cpus = max(needs.cpus, gpus * (self.cpus_per_gpu or 0))
        memory = max(needs.memory_gb, gpus * (self.memory_gb_per_gpu or 0.0))
        return needs.model_copy(update={"cpus": cpus, "memory_gb": memory})


def _short(have: float | None, need: float | None) -> bool:
    return have is not None and need is not None and need > have
