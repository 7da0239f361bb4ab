"""Where the GPU suite runs: SmolLM2-135M on a GPU, or small models on the CPU by the same code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.training import SFT, Lab, Ran, base_of, pretrain_recipe, reference_of, sft_recipe
from tests.workers.ppo.lab import reward_of
from workers.context import Parent
from workers.endings import classify
from workers.failures import next_micro_batch, verdict, whole_batch
from workers.kinds import Kind
from workers.recipe import Execution, Recipe
from workers.specs.model import ModelRecipe, ModelShape

SMOLLM2 = ModelShape(
    hidden_size=576,
    layers=30,
    heads=9,
    key_value_heads=3,
    intermediate_size=1536,
    context=2048,
    tie_embeddings=True,
    vocabulary_multiple=49_152,
)
"""SmolLM2-135M's, for models made from scratch: the embedded world's tokenizer under as many words."""


@dataclass
class Place:
    """A device, and the model that is trained there: `hub` is a directory, or None for one made by a short training."""

    lab: Lab
    device: str
    hub: Path | None = None
    shape: ModelShape | None = None

    @cached_property
    def base(self) -> Parent:
        """What stages start from."""
        if self.hub is None:
            return base_of(self.lab)
        stage = self.lab.stage(SFT, sft_recipe(seed=99))
        output = self.lab.root / "smollm2"
        output.mkdir()
        (output / "model").symlink_to(self.hub.resolve())
        return Parent("base", stage, output, [])

    @cached_property
    def reward(self) -> Parent:
        """A reward model on the base."""
        return reward_of(self.lab, self.base)

    @cached_property
    def reference(self) -> Parent:
        """Reference rows of the base."""
        return reference_of(self.lab, self.base)

    def parents(self, kind: Kind) -> tuple[Parent, ...]:
        """What a stage of this kind stands on."""
        if kind.name == "pretrain":
            return ()
        if kind.name == "ppo":
            return (self.base, self.reward)
        return (self.base, self.reference) if kind.name == "dpo" else (self.base,)

    def pretraining(self, **others: Any) -> Recipe:
        """From random weights, in the shape of the model of this place."""
        given = {} if self.shape is None else {"model": ModelRecipe(shape=self.shape)}
        return pretrain_recipe(**given | others)

    def execution(self, **others: Any) -> Execution:
        return Execution(device=self.device, **others)

    def run(self, kind: Kind, recipe: Recipe, **others: Any) -> Ran:
        """A stage, with nothing warm."""
        given = {"execution": self.execution(), "memory": {}} | others
        return self.lab.run(kind, recipe, self.parents(kind), **given)

    def interrupt(self, kind: Kind, recipe: Recipe, at: int) -> Path:
        return self.lab.interrupt(kind, recipe, self.parents(kind), at, execution=self.execution(), memory={})

    def heal(self, kind: Kind, recipe: Recipe) -> tuple[list[int | None], Ran]:
        """Try a stage as a supervisor does until it ends; the micro-batches that it was tried with."""
        attempts: list[Any] = []
        while True:
            micro = next_micro_batch(attempts, whole_batch(recipe))
            tried = [one["execution"]["micro_batch"] for one in attempts]
            try:
                return [*tried, micro], self.run(kind, recipe, execution=self.execution(micro_batch=micro))
            except Exception as error:
                ending, _ = classify(error)
                attempts.append({"ending": ending, "execution": {"micro_batch": micro}})
                if ending != "gpu_out_of_memory" or verdict(attempts) != "again":
                    raise
            empty(self.device)

    def peak(self, work: Callable[[], Any]) -> int:
        """The most bytes that some work takes of the device's memory."""
        if self.device == "cpu":
            from tests.support.live_bytes import LiveBytes

            with LiveBytes() as live:
                work()
            return live.peak
        import torch

        empty(self.device)
        torch.cuda.reset_peak_memory_stats()
        work()
        return int(torch.cuda.max_memory_reserved())


def empty(device: str) -> None:
    """Give back what a finished stage held."""
    import gc

    import torch

    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


@contextmanager
def limited(device: str, limit: int) -> Iterator[None]:
    """Within the body the device has `limit` bytes for this process, beside what it holds on a CPU already."""
    if device == "cpu":
        with _limited_address_space(limit):
            yield
        return
    import torch

    empty(device)
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.mem_get_info()[1])
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def _limited_address_space(limit: int) -> Iterator[None]:
    import resource

    import psutil

    before = resource.getrlimit(resource.RLIMIT_AS)
    held = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (held + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
