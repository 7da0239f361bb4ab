"""Resource shapes in Ray's terms: what an actor asks for, and how many fit on which nodes.

Ray counts CPUs, GPUs and memory as they are declared; it does not know how much memory a GPU has. So a stage
that states its `gpu_memory_gb` gets a share of a GPU where the accelerator's memory is known by its type, and where
types differ one of the smallest that holds it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.profile import FAR_FEWER
from workers.recipe import Resources

GIB = 2**30
SHARES = (0.125, 0.25, 0.5)
HEADROOM = 1.1
"""A share is this much larger than the estimate: allocators fragment."""
ACCELERATOR_MEMORY_GB: dict[str, float] = {
    "V100": 16,
    "P100": 16,
    "T4": 16,
    "P4": 8,
    "K80": 12,
    "A10G": 24,
    "L4": 24,
    "L40S": 48,
    "A100": 40,
    "A100-40G": 40,
    "A100-80G": 80,
    "H100": 80,
    "H200": 141,
    "H20": 96,
    "B200": 180,
    "RTX-PRO-6000": 96,
}
"""Memory by the accelerator types that Ray tells apart (`accelerator_type:…`), the smallest where several exist.

Source: the makers' data sheets.
"""
TYPE_PREFIX = "accelerator_type:"
OF_A_TYPE = 0.001
"""How much of a node's resource of an accelerator type one actor takes: there is 1 of it, for any number of actors."""


@dataclass(frozen=True)
class Node:
    """A node as Ray lists it; `resources` are totals, memory in bytes."""

    id: str
    host: str
    resources: Mapping[str, float]

    @property
    def gpu_memory_gb(self) -> float | None:
        """The memory of each of its GPUs, or None where its type is not known."""
        return None if self.gpu_type is None else ACCELERATOR_MEMORY_GB[self.gpu_type]

    @property
    def gpu_type(self) -> str | None:
        """The type of its GPUs, of several the one with the least memory, or None where none is known."""
        types = [name.removeprefix(TYPE_PREFIX) for name in self.resources if name.startswith(TYPE_PREFIX)]
        known = [name for name in types if name in ACCELERATOR_MEMORY_GB]
        return min(known, key=lambda name: ACCELERATOR_MEMORY_GB[name], default=None)


@dataclass(frozen=True)
class Request:
    """What one actor of a shape asks of Ray. `memory` is in bytes, `gpu_type` given where types must be told apart."""

    cpus: float
    gpus: float
    memory: int
    gpu_type: str | None = None

    @property
    def types(self) -> dict[str, float]:
        """The accelerator type as a resource, if it counts."""
        return {} if self.gpu_type is None else {TYPE_PREFIX + self.gpu_type: OF_A_TYPE}

    @property
    def resources(self) -> dict[str, float]:
        """As Ray names them."""
        gpus = {"GPU": self.gpus} if self.gpus else {}
        return {"CPU": self.cpus, **gpus, "memory": self.memory, **self.types}

    def copies(self, node: Node) -> int:
        """How many of it an empty node holds; a share never spans two GPUs."""
        held = {name: node.resources.get(name, 0.0) for name in self.resources}
        if 0 < self.gpus < 1:
            held["GPU"] = int(held["GPU"]) * int(1 / self.gpus) * self.gpus
        return min(int(held[name] / wanted + 1e-9) for name, wanted in self.resources.items() if wanted)


def request_of(needs: Mapping[str, Any], nodes: Iterable[Node]) -> Request:
    """What an actor for stages with `needs` (a dumped `Resources`) asks for on a cluster of `nodes`."""
    resources = Resources.model_validate(needs)
    known = list(nodes)
    anywhere = Request(resources.cpus, _gpus(resources, known), int(resources.memory_gb * GIB))
    tried = [_of_type(resources, one, known) for one in _holding(resources, known)]
    slots = [sum(request.copies(node) for node in known) for request in tried]
    roomy = [one for one, count in zip(tried, slots, strict=True) if count * FAR_FEWER >= max(slots) > 0]
    return roomy[0] if roomy else anywhere


def _holding(needs: Resources, nodes: Iterable[Node]) -> list[str]:
    """The GPU types of a mixed cluster that hold the estimate, the smallest first; none where all are alike.

    The smallest takes a stage unless far fewer fit there at once: so larger GPUs stay free for what needs them, and
    nothing lands on one that is too small.
    """
    sizes = {node.gpu_type: node.gpu_memory_gb or 0.0 for node in nodes if node.resources.get("GPU")}
    if not needs.gpus or needs.gpu_memory_gb is None or None in sizes or len(set(sizes.values())) < 2:
        return []
    wanted = needs.gpu_memory_gb
    return sorted(
        (kind for kind, size in sizes.items() if kind and size >= wanted), key=lambda one: sizes[one]
    )


def _of_type(needs: Resources, kind: str, nodes: Iterable[Node]) -> Request:
    alike = [node for node in nodes if node.gpu_type == kind]
    return Request(needs.cpus, _gpus(needs, alike), int(needs.memory_gb * GIB), kind)


def largest(requests: Collection[Request]) -> Request:
    """What holds each of `requests` in turn: the most of everything, on the largest type of GPU."""
    types = [one.gpu_type for one in requests if one.gpu_type is not None]
    return Request(
        max(one.cpus for one in requests),
        max(one.gpus for one in requests),
        max(one.memory for one in requests),
        max(types, key=lambda name: ACCELERATOR_MEMORY_GB[name], default=None),
    )


def _gpus(needs: Resources, nodes: Iterable[Node]) -> float:
    """One GPU becomes the smallest share that surely holds the estimate, on whichever node it lands."""
    if needs.gpus != 1 or needs.gpu_memory_gb is None:
        return needs.gpus
    memories = [node.gpu_memory_gb for node in nodes if node.resources.get("GPU")]
    if not memories or any(memory is None for memory in memories):
        return needs.gpus
    share = HEADROOM * needs.gpu_memory_gb / min(memory for memory in memories if memory is not None)
    return next((one for one in SHARES if one >= share), 1.0)


def lacking(request: Request, nodes: Iterable[Node]) -> str:
    """What keeps a request off every one of `nodes`, for a person: what is asked, what the best node has."""
    best = {
        name: max((node.resources.get(name, 0.0) for node in nodes), default=0.0)
        for name in request.resources
    }
    wanted = ", ".join(_amount(name, amount) for name, amount in request.resources.items())
    return f"it needs {wanted} on one node; the most that any node has is " + ", ".join(
        _amount(name, amount) for name, amount in best.items()
    )


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / GIB:.1f} GiB of memory"
    if name.startswith(TYPE_PREFIX):
        return f"{'' if amount else 'no '}GPUs of type {name.removeprefix(TYPE_PREFIX)}"
    return f"{amount:g} {name}" + ("" if amount == 1 else "s")
