"""Bundles: which stages one job runs, one after another, in one warm process.

Stages are laid out on `slots` workers per resource shape by simulating them: whenever a slot is free it takes
the next ready stage, of the same base model if there is one. A slot's time line is cut into bundles below the
time limit. So bundles are few and long (one for each slot, unless the limit forces more), balanced, and load
a base model rarely.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil


@dataclass(frozen=True, slots=True)
class BundledStage:
    """What bundling needs to know of a stage. `parents` are ids; those not among the stages count as done."""

    id: str
    shape: str
    affinity: str
    cost: float
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """The stages (ids, in order) that one job runs, its expected start and seconds of work."""

    name: str
    shape: str
    stages: tuple[str, ...]
    start: float
    seconds: float


@dataclass
class _Slot:
    """A worker of one shape: its current affinity and bundle, and the bundles that it has finished."""

    shape: str
    affinity: str = ""
    start: float = 0.0
    seconds: float = 0.0
    stages: list[str] = field(default_factory=list)


class _Ready:
    """The ready stages of one shape, a stack for each affinity: a slot goes on with what it made ready."""

    def __init__(self) -> None:
        self.stacks: dict[str, list[int]] = {}
        self.work: dict[str, float] = {}
        self.slots: dict[str, int] = {}

    def push(self, number: int, stage: BundledStage) -> None:
        self.stacks.setdefault(stage.affinity, []).append(number)
        self.work[stage.affinity] = self.work.get(stage.affinity, 0.0) + stage.cost

    def pop(self, slot: _Slot, stages: Sequence[BundledStage]) -> int | None:
        """The next stage for `slot`: of its affinity, else of that with most ready work per slot on it."""
        if not self.stacks:
            return None
        if slot.affinity not in self.stacks:
            self.slots[slot.affinity] = self.slots.get(slot.affinity, 0) - 1
            slot.affinity = max(
                self.stacks, key=lambda name: self.work[name] / (1 + max(0, self.slots.get(name, 0)))
            )
            self.slots[slot.affinity] = self.slots.get(slot.affinity, 0) + 1
        stack = self.stacks[slot.affinity]
        number = stack.pop()
        self.work[slot.affinity] -= stages[number].cost
        if not stack:
            del self.stacks[slot.affinity], self.work[slot.affinity]
        return number


def make_bundles(
    stages: Sequence[BundledStage],
    slots: int | Mapping[str, int],
    limit_seconds: float | Mapping[str, float],
    overhead_seconds: float,
) -> list[Bundle]:
    """Bundles that hold every stage exactly once, ordered by their expected start.

    `slots` and `limit_seconds` are one number for all shapes, or one for each. `overhead_seconds` is what a bundle
    costs before its first stage (process start, model load).

    Invariants: all stages of a bundle have its shape; a bundle with its overhead stays below `limit_seconds`
    unless it is a single stage; the orders inside all bundles and the parents of all stages agree with one
    common order, so that bundles which run side by side, or one after another as listed with stages in
    between taken over, never wait in a circle.

    Raises:
        ValueError: an id stands twice, or parents go round in a circle.
    """
    shapes = {stage.shape for stage in stages}
    each_slots = slots if isinstance(slots, Mapping) else dict.fromkeys(shapes, slots)
    limits = limit_seconds if isinstance(limit_seconds, Mapping) else dict.fromkeys(shapes, limit_seconds)
    layout = _Layout(stages, each_slots, limits, overhead_seconds)
    found = sorted(layout.run(), key=lambda item: (item[0], item[1].shape))
    return [
        Bundle(f"{slot.shape}-{number:04d}", slot.shape, tuple(slot.stages), start, slot.seconds)
        for number, (start, slot) in enumerate(found)
    ]


class _Layout:
    """The simulation of one set of stages."""

    def __init__(
        self,
        stages: Sequence[BundledStage],
        slots: Mapping[str, int],
        limits: Mapping[str, float],
        overhead: float,
    ) -> None:
        self.stages, self.limits, self.overhead = stages, limits, overhead
        self.number = {stage.id: number for number, stage in enumerate(stages)}
        if len(self.number) != len(stages):
            raise ValueError("a stage stands twice among those to bundle")
        self.children: list[list[int]] = [[] for _ in stages]
        self.waiting = [0] * len(stages)
        for number, stage in enumerate(stages):
            for parent in {self.number[parent] for parent in stage.parents if parent in self.number}:
                self.children[parent].append(number)
                self.waiting[number] += 1
        self.ready: dict[str, _Ready] = {stage.shape: _Ready() for stage in stages}
        self.idle = {
            shape: _idle_slots(shape, stages, max(1, slots[shape]), overhead) for shape in self.ready
        }
        self.events: list[tuple[float, int, int, _Slot]] = []
        self.closed: list[tuple[float, _Slot]] = []

    def run(self) -> Iterator[tuple[float, _Slot]]:
        """Each bundle with its start, as a slot that holds it."""
        for number in range(len(self.stages) - 1, -1, -1):
            if not self.waiting[number]:
                self._push(number)
        self._assign(0.0, self.ready)
        done = 0
        while self.events:
            time = self.events[0][0]
            touched: dict[str, None] = {}
            while self.events and self.events[0][0] == time:
                _, _, number, slot = heappop(self.events)
                done += 1
                self.idle[slot.shape].append(slot)
                touched[slot.shape] = None
                touched.update(dict.fromkeys(self._finish(number)))
            self._assign(time, touched)
        if done != len(self.stages):
            raise ValueError("parents of the stages to bundle go round in a circle")
        yield from self.closed
        yield from ((slot.start, slot) for slots in self.idle.values() for slot in slots if slot.stages)

    def _finish(self, number: int) -> Iterator[str]:
        """Mark a stage as done; its children that are now ready go to their stacks, the first on top."""
        for child in reversed(self.children[number]):
            self.waiting[child] -= 1
            if not self.waiting[child]:
                self._push(child)
                yield self.stages[child].shape

    def _push(self, number: int) -> None:
        stage = self.stages[number]
        self.ready[stage.shape].push(number, stage)

    def _assign(self, time: float, shapes: Iterable[str]) -> None:
        for shape in shapes:
            idle, ready = self.idle[shape], self.ready[shape]
            while idle and ready.stacks:
                slot = _best(idle, ready)
                number = ready.pop(slot, self.stages)
                if number is not None:
                    self._start(time, slot, number)

    def _start(self, time: float, slot: _Slot, number: int) -> None:
        cost = self.stages[number].cost
        if slot.stages and self.overhead + slot.seconds + cost > self.limits[slot.shape]:
            self.closed.append((slot.start, _Slot(slot.shape, "", slot.start, slot.seconds, slot.stages)))
            slot.stages, slot.seconds = [], 0.0
        begin = time
        if not slot.stages:
            slot.start = time
            begin += self.overhead
        slot.stages.append(self.stages[number].id)
        slot.seconds += cost
        heappush(self.events, (begin + cost, number, number, slot))


def _best(idle: list[_Slot], ready: _Ready) -> _Slot:
    """A slot that is free and already has a ready affinity, else one that has run, else a fresh one."""
    chosen = max(
        range(len(idle)), key=lambda place: (idle[place].affinity in ready.stacks, bool(idle[place].stages))
    )
    return idle.pop(chosen)


def _idle_slots(shape: str, stages: Sequence[BundledStage], slots: int, overhead: float) -> list[_Slot]:
    """No more slots than the work is worth: a process that works less than it takes to start helps nobody."""
    total = sum(stage.cost for stage in stages if stage.shape == shape)
    worth = slots if total >= slots * overhead else ceil(total / overhead)
    return [_Slot(shape) for _ in range(max(1, worth))]
