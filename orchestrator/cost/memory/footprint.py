"""What a stage's memory is made of, in bytes."""

from dataclasses import asdict, dataclass, fields

GB = 1e9
"""Bytes of a GB, here and in `gpu_memory_gb`: a card's GiB are 7 % more, which stays free."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that live together at one moment of a stage, by what they are for.

    `activations` are what autograd keeps for the backward pass, `logits` all tensors as wide as the vocabulary,
    `others` further models beside the one that is trained or asked (reference, value, reward), `workspace` what
    lives only within one layer's pass or one optimizer step.
    """

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    cache: float = 0.0
    others: float = 0.0
    workspace: float = 0.0

    @property
    def peak(self) -> float:
        """The sum: bytes of live tensors."""
        return float(sum(getattr(self, field.name) for field in fields(self)))

    def __add__(self, other: "Footprint") -> "Footprint":
        pairs = zip(asdict(self).items(), asdict(other).values(), strict=True)
        return Footprint(**{name: mine + theirs for (name, mine), theirs in pairs})


def highest(*moments: Footprint) -> Footprint:
    """The moment of the most bytes."""
    return max(moments, key=lambda moment: moment.peak)
