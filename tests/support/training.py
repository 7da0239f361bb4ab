"""A small workspace in which real training stages run, in this process or in a fresh one."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.layout import Workspace
from workers.checkpoints import newest_checkpoint, newest_of
from workers.context import Parent, StageContext, StageResult, StageStopped
from workers.kinds import Kind
from workers.recipe import Execution, Recipe
from workers.specs.data import DataSource, PreferenceData, Template, TextData
from workers.specs.dpo import DPO, DpoRecipe
from workers.specs.model import LoraRecipe, ModelRecipe, ModelShape, QuantizationRecipe
from workers.specs.pretrain import PRETRAIN, PretrainRecipe
from workers.specs.reference import REFERENCE, ReferenceRecipe
from workers.specs.sft import SFT, SftRecipe
from workers.specs.training import Training
from workers.stage import Stage
from workers.world import WorldRecipe

WORLD = DataSource(
    world=WorldRecipe(
        pretrain_rows=400,
        validation_rows=20,
        instruction_rows=40,
        preference_rows=60,
        preference_test_rows=20,
        generation_rows=8,
        reasoning_rows=4,
    )
)
VICUNA = Template(turn="USER: {prompt} ASSISTANT: {response}</s>")
MISTRAL = Template(turn="[INST] {prompt} [/INST] {response} </s>")
NF4 = QuantizationRecipe(compute_dtype="float32")
PREFERENCES = PreferenceData(dataset="beavertails", source=WORLD, samples=40)
STEPS = 8


def lora(quantization: QuantizationRecipe | None = None, rank: int = 4) -> LoraRecipe:
    return LoraRecipe(
        rank=rank, alpha=8, dropout=0.1, target_modules=("q_proj", "v_proj"), quantization=quantization
    )


def short(steps: int = STEPS, rate: float = 5e-3, **others: Any) -> Training:
    return Training(steps=steps, batch_size=4, learning_rate=rate, **others)


def sft_recipe(**others: Any) -> SftRecipe:
    return SftRecipe(
        **{"adapter": lora(), "preferences": PREFERENCES, "template": VICUNA, "training": short()} | others
    )


def dpo_recipe(**others: Any) -> DpoRecipe:
    return DpoRecipe(
        **{"adapter": lora(), "preferences": PREFERENCES, "template": VICUNA, "training": short(rate=1e-3)}
        | others
    )


def reference_recipe(**others: Any) -> ReferenceRecipe:
    return ReferenceRecipe(**{"preferences": PREFERENCES, "template": VICUNA, "batch_size": 8} | others)


def pretrain_recipe(**others: Any) -> PretrainRecipe:
    shape = ModelShape(hidden_size=32, layers=2, heads=2, key_value_heads=1, intermediate_size=64)
    data = TextData(source=WORLD, block=32)
    return PretrainRecipe(
        **{"model": ModelRecipe(shape=shape), "tokenizer": WORLD, "data": data, "training": short(12)}
        | others
    )


@dataclass
class Ran:
    """A stage that ran: where it left its output, what it returned, and how its time was spent."""

    stage: Stage
    output: Path
    result: StageResult
    seconds: dict[str, float]

    def parent(self, role: str) -> Parent:
        return Parent(role, self.stage, self.output, self.result.metrics)

    def bytes(self) -> dict[str, bytes]:
        """Every file of the output but snapshots, by name."""
        return {
            str(path.relative_to(self.output)): path.read_bytes()
            for path in sorted(self.output.rglob("*"))
            if path.is_file() and "snapshots" not in path.parts
        }

    def value(self, name: str) -> float | None:
        return next(row["value"] for row in self.result.metrics if row["metric"] == name)


@dataclass
class Lab:
    """Runs stages in one workspace. `memory` is the warm worker's; another one makes a cold start."""

    root: Path
    memory: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    def stage(self, kind: Kind, recipe: Recipe, parents: tuple[Parent, ...] = ()) -> Stage:
        stage = Stage.create(kind, recipe, tuple((parent.role, parent.stage.id) for parent in parents))
        stage.write(self.workspace)
        return stage

    def context(self, stage: Stage, parents: tuple[Parent, ...], **others: Any) -> StageContext:
        self.attempts += 1
        attempt = self.workspace.attempt(stage.id, others.pop("token", f"attempt{self.attempts}"))
        (attempt / "output").mkdir(parents=True, exist_ok=True)
        settings = {"execution": Execution(device="cpu"), "memory": self.memory} | others
        return StageContext(self.workspace, stage, attempt, list(parents), **settings)

    def run(self, kind: Kind, recipe: Recipe, parents: tuple[Parent, ...] = (), **others: Any) -> Ran:
        stage = self.stage(kind, recipe, parents)
        context = self.context(stage, parents, **others)
        result = kind.load_runner()(recipe, context)
        done = self.workspace.done_file(stage.id)
        done.write_text(json.dumps({"stage": stage.id, "attempt": context.attempt.name}))
        return Ran(stage, context.output, result, context.seconds)

    def interrupt(
        self, kind: Kind, recipe: Recipe, parents: tuple[Parent, ...], at: int, **others: Any
    ) -> Path:
        """Run until step `at`, be asked to stop, and return the checkpoint that was left."""
        stage = self.stage(kind, recipe, parents)
        context = self.context(stage, parents, **others)
        context.stop_requested, context.on_progress = stop_at(at)
        try:
            kind.load_runner()(recipe, context)
        except StageStopped:
            checkpoint = newest_of(list(context.checkpoints.glob("[0-9]*")))
            assert checkpoint is not None
            return checkpoint
        raise AssertionError("the stage did not stop")


def stop_at(step: int) -> tuple[Callable[[], bool], Callable[[int, int | None], None]]:
    """(stop_requested, on_progress) that ask for a stop once `step` was reported."""
    seen = [0]

    def progress(done: int, total: int | None) -> None:
        seen[0] = done

    return lambda: seen[0] >= step, progress


def base_of(lab: Lab, **others: Any) -> Parent:
    """A short pre-training, as a parent."""
    return lab.run(PRETRAIN, pretrain_recipe(**others)).parent("base")


def reference_of(lab: Lab, base: Parent, **others: Any) -> Parent:
    """Reference rows on a base, as a parent."""
    return lab.run(REFERENCE, reference_recipe(**others), (base,)).parent("reference")


def run_fresh(
    lab: Lab, ran: Ran | Stage, token: str, *, stop: int | None = None, kill: int | None = None
) -> int:
    """Run a stage whose `stage.json` is written in a fresh process; its exit code.

    `stop` asks it to stop at a step, `kill` ends it there by SIGKILL. It resumes from the newest checkpoint.
    """
    stage = ran.stage if isinstance(ran, Ran) else ran
    command = [sys.executable, "-m", "tests.support.training", str(lab.root), stage.id, token]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, str(stop), str(kill)], check=False, cwd=root, capture_output=True, timeout=300
    )
    return done.returncode


def _main(root: str, identity: str, token: str, stop: str, kill: str) -> None:
    """Run one stage from its files, as a worker does."""
    import os
    import signal

    from workers.models.sources import committed_parent

    lab = Lab(Path(root))
    stage = Stage.read(lab.workspace, identity)
    parents = [committed_parent(lab.workspace, stage, role) for role, _ in stage.parents]
    checkpoint = newest_checkpoint(lab.workspace, identity)
    found = tuple(parent for parent in parents if parent)
    context = lab.context(stage, found, token=token, resume_from=checkpoint)
    context.execution = Execution(device="cpu", checkpoint_steps=2)
    if stop != "None":
        context.stop_requested, context.on_progress = stop_at(int(stop))

    def die(step: int, total: int | None) -> None:
        if step == int(kill):
            os.kill(os.getpid(), signal.SIGKILL)

    if kill != "None":
        context.on_progress = die
    try:
        result = stage.kind.load_runner()(stage.recipe, context)
    except StageStopped:
        sys.exit(3)
    (context.attempt / "metrics.json").write_text(json.dumps(result.metrics))


__all__ = ["DPO", "REFERENCE", "SFT"]

if __name__ == "__main__":
    _main(*sys.argv[1:])
