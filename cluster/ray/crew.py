"""The crew: the driver's warm actors, each in one bundle's place; hired when work is ready, let go when it is not."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from cluster.ray.actor import THREADS, WarmActor
from cluster.ray.shapes import Request
from results.layout import Workspace
from workers.submission import Submission

CLOSE_SECONDS = 10.0
ACTOR_OPTIONS = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": THREADS}
"""The workspace decides what is tried again, not Ray."""

State = Literal["placing", "idle", "busy"]


@dataclass
class Member:
    """One actor. `placing`: Ray has not started it yet; `idle`: it waits, warm; `busy`: it runs `stage`."""

    bundle: int
    shape: str
    name: str
    actor: Any
    group: Any
    call: Any
    state: State = "placing"
    stage: int | None = None
    node: str = ""
    placed: float | None = None
    since: float = field(default_factory=time.monotonic)

    def turn(self, state: State, call: Any = None, stage: int | None = None) -> None:
        """Change its state."""
        self.state, self.call, self.stage, self.since = state, call, stage, time.monotonic()

    @property
    def tenure(self) -> float:
        """How many seconds it has held its resources."""
        return 0.0 if self.placed is None else time.monotonic() - self.placed

    @property
    def seconds(self) -> float:
        """How long it has been in its state."""
        return time.monotonic() - self.since


@dataclass(frozen=True)
class Death:
    """An actor that ended without a word: what it ran, and Ray's reason."""

    member: Member
    out_of_memory: bool
    placed: bool
    reason: str


class Crew:
    """All actors of one driver. `requests` says what an actor of each shape asks of Ray."""

    def __init__(
        self, workspace: Workspace, submission: Submission, job: str, requests: Mapping[str, Request]
    ) -> None:
        self._workspace, self._submission, self._job, self.requests = workspace, submission, job, requests
        self._members: dict[int, Member] = {}
        self._hired: Counter[int] = Counter()

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def of(self, shape: str, *states: State) -> list[Member]:
        """The members of one shape in any of `states`, those who have been so for longest first."""
        found = [one for one in self if one.shape == shape and one.state in states]
        return sorted(found, key=lambda one: one.since)

    def vacant(self, shape: str) -> list[int]:
        """The bundles of a shape that no actor is there for."""
        bundles = enumerate(self._submission.bundles)
        return [number for number, one in bundles if one.shape == shape and number not in self._members]

    def hire(self, bundle: int) -> None:
        """Ask Ray for an actor in a bundle's place; it is `placing` until Ray has started it."""
        shape = self._submission.bundles[bundle].shape
        request = self.requests[shape]
        self._hired[bundle] += 1
        name = f"{self._submission.id}-{bundle:04d}-{self._hired[bundle]}"
        group = placement_group([request.resources], strategy="STRICT_PACK") if request.gpus >= 1 else None
        strategy = (
            {} if group is None else {"scheduling_strategy": PlacementGroupSchedulingStrategy(group, 0)}
        )
        actor = (
            ray.remote(cast(Any, WarmActor))
            .options(
                num_cpus=request.cpus,
                num_gpus=request.gpus,
                memory=request.memory,
                resources=request.types,
                **ACTOR_OPTIONS,
                **strategy,
            )
            .remote(
                str(self._workspace.root.resolve()),
                self._submission.id,
                bundle,
                name,
                self._job,
                request.gpus,
            )
        )
        self._members[bundle] = Member(bundle, shape, name, actor, group, actor.place.remote())

    def give(self, member: Member, stage: int) -> None:
        """Have an idle actor run a stage."""
        member.turn("busy", member.actor.take.remote(stage), stage)

    def collect(self, seconds: float) -> tuple[list[tuple[Member, int, bool]], list[Death]]:
        """Wait a while for something to happen; return the stages that ended (member, stage, claimed) and the dead."""
        calls = {one.call: one for one in self if one.call is not None}
        if not calls:
            time.sleep(seconds)
            return [], []
        happened, _ = ray.wait(list(calls), num_returns=1, timeout=seconds)
        rest = [call for call in calls if call not in happened]
        if happened and rest:
            happened += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        ended, dead = [], []
        for call in happened:
            member = calls[call]
            try:
                answer = ray.get(call)
            except ray.exceptions.RayError as error:
                dead.append(self._bury(member, error))
                continue
            if member.state == "placing":
                member.node, member.placed = answer["node"], time.monotonic()
            elif member.stage is not None:
                ended.append((member, member.stage, bool(answer)))
            member.turn("idle")
        return ended, dead

    def let_go(self, member: Member) -> None:
        """End an actor that runs nothing; its resources are free afterwards."""
        if member.state == "idle":
            ray.wait([member.actor.close.remote()], timeout=CLOSE_SECONDS)
        self._remove(member)

    def stop(self, seconds: float) -> None:
        """Have every running stage save itself, wait for that, and end all actors."""
        busy = [one for one in self if one.state == "busy"]
        for one in busy:
            one.actor.stop.remote()
        if busy:
            ray.wait([one.call for one in busy], num_returns=len(busy), timeout=seconds)
        for one in busy:
            one.turn("idle")
        for one in self:
            self.let_go(one)

    def _bury(self, member: Member, error: Exception) -> Death:
        self._remove(member)
        words = str(error)
        out_of_memory = (
            isinstance(error, ray.exceptions.OutOfMemoryError) or "memory monitor" in words.lower()
        )
        return Death(member, out_of_memory, member.state != "placing", words.strip())

    def _remove(self, member: Member) -> None:
        self._members.pop(member.bundle, None)
        ray.kill(member.actor)
        if member.group is not None:
            remove_placement_group(member.group)
