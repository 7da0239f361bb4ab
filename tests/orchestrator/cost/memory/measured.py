"""The memory of one real training step, rollout or evaluation on the CPU, and what is predicted of it.

Models are made from configurations, rows from random ids of exact lengths; trainers, losses, samplers and scorers are
those that the stages use.
"""

import gc
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

from orchestrator.cost.architecture import Architecture, architecture_of
from orchestrator.cost.memory import heads
from orchestrator.cost.memory.stages import stage_footprint
from tests.support.live_bytes import LiveBytes, tensors_in
from tests.support.training import PREFERENCES, WORLD, Lab
from workers.context import Parent, StageContext
from workers.data.tokenization import TokenizedPair
from workers.kinds import find_kind
from workers.models.fresh import fresh_model
from workers.models.sources import ModelSource
from workers.recipe import Execution, Recipe, Resources
from workers.specs.data import TextData
from workers.specs.model import LoraRecipe, ModelRecipe, ModelShape
from workers.specs.training import Training

STEP = 1
"""The step that is measured, counted from 0: the second one, so that the optimizer has its state."""


@dataclass(frozen=True)
class Case:
    """What is measured: a kind of stage on a model of `shape`, `batch` rows (None: `micro`) of `length` tokens.

    `tile` replaces the words of a tile of TRL's fused head, which otherwise outweighs a small model.
    """

    kind: str
    shape: ModelShape
    micro: int = 4
    batch: int | None = None
    length: int = 128
    padded: bool = True
    checkpointing: bool = False
    chunked: bool = False
    adapter: LoraRecipe | None = None
    dtype: str = "float32"
    autocast: str = "none"
    attention: str = "sdpa"
    optimizer: str = "adamw_torch"
    tile: int | None = 512
    new_tokens: int = 32
    others: tuple[tuple[str, Any], ...] = ()

    @property
    def rows(self) -> int:
        """The rows of a whole batch."""
        return self.batch or self.micro

    @property
    def model(self) -> ModelRecipe:
        """The recipe of the model."""
        return ModelRecipe.model_validate(
            {"shape": self.shape, "dtype": self.dtype, "attention": self.attention}
        )

    @property
    def execution(self) -> Execution:
        """How it is run."""
        return Execution(
            device="cpu",
            micro_batch=self.micro,
            gradient_checkpointing=self.checkpointing,
            chunked_loss=self.chunked,
        )

    @property
    def recipe(self) -> Recipe:
        """The stage's recipe."""
        found: Recipe = find_kind(self.kind).recipe.model_validate(
            RECIPES[self.kind](self) | dict(self.others)
        )
        return found

    @property
    def architecture(self) -> Architecture:
        """The model's sizes, as a plan knows them."""
        fresh = find_kind("pretrain").recipe.model_validate(
            {"model": {"shape": self.shape}, "tokenizer": WORLD}
        )
        found = architecture_of(fresh)
        assert found is not None
        return found

    def predicted(self) -> float:
        """Bytes of live tensors at the highest moment, as a plan predicts them."""
        with patch.object(heads, "TILE_WORDS", self.tile or heads.TILE_WORDS):
            found = stage_footprint(self.kind, self.recipe, self.architecture, Resources(), self.execution)
        assert found is not None
        return found.peak

    def measured(self) -> float:
        """The same, measured."""
        from trl.trainer import utils

        gc.collect()
        with patch.object(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", self.tile or heads.TILE_WORDS):
            return MEASURES[self.kind](self)


def _training(case: Case) -> Training:
    return Training.model_validate(
        {
            "steps": STEP + 1,
            "batch_size": case.rows,
            "learning_rate": 1e-4,
            "autocast": case.autocast,
            "optimizer": case.optimizer,
        }
    )


def _trained(case: Case) -> dict[str, Any]:
    return {"model": case.model, "adapter": case.adapter, "training": _training(case)}


def _pairs(case: Case) -> Any:
    return PREFERENCES.model_copy(update={"max_length": case.length})


def _examined(case: Case) -> dict[str, Any]:
    return {"model": case.model, "batch_size": case.rows, "max_length": case.length}


def _ppo(case: Case) -> dict[str, Any]:
    return {
        "model": case.model,
        "adapter": case.adapter or LoraRecipe(),
        "preferences": PREFERENCES,
        "rollout": {
            "batch_size": case.rows,
            "prompt_tokens": case.length - case.new_tokens,
            "new_tokens": case.new_tokens,
        },
        "training": {"steps": 2, "batch_size": case.rows, "warmup_steps": 0, "autocast": case.autocast},
    }


def _online(case: Case) -> dict[str, Any]:
    return {
        "model": case.model,
        "adapter": case.adapter or LoraRecipe(),
        "preferences": PREFERENCES,
        "prompt_tokens": case.length - case.new_tokens,
        "max_completion_length": case.new_tokens,
        "num_generations": 2,
        "training": _training(case),
    }


RECIPES: dict[str, Callable[[Case], dict[str, Any]]] = {
    "sft": lambda case: _trained(case) | {"preferences": PREFERENCES, "max_length": case.length},
    "dpo": lambda case: _trained(case) | {"preferences": _pairs(case)},
    "reward": lambda case: _trained(case) | {"preferences": _pairs(case)},
    "pretrain": lambda case: {
        "model": case.model,
        "tokenizer": WORLD,
        "data": TextData(source=WORLD, block=case.length),
        "training": _training(case),
    },
    "reference": lambda case: {
        "model": case.model,
        "batch_size": case.rows,
        "preferences": _pairs(case),
        "quantization": case.adapter and case.adapter.quantization,
    },
    "generate": lambda case: _examined(case) | {"prompts": [{"name": "any", "new_tokens": case.new_tokens}]},
    "evaluate": lambda case: _examined(case) | {"benchmarks": [{"task": "mmlu"}]},
    "ppo": _ppo,
    "rloo": _online,
    "grpo": _online,
}


@cache
def tokenizer() -> Any:
    """The embedded world's."""
    from workers.data.corpus import corpus_tokenizer

    lab = Lab(Path(mkdtemp()))
    kind = find_kind("pretrain")
    recipe: Any = kind.recipe.model_validate({"tokenizer": WORLD, "data": {"source": WORLD}})
    return corpus_tokenizer(recipe, lab.context(lab.stage(kind, recipe), ()))


def ids(count: int, seed: int) -> list[int]:
    """Random ids of ordinary words."""
    drawn = random.Random(seed)
    return [drawn.randrange(10, 150) for _ in range(count)]


def _context(case: Case, lab: Lab, parents: tuple[Parent, ...] = ()) -> StageContext:
    stage = lab.stage(find_kind(case.kind), case.recipe, parents)
    return lab.context(stage, parents, execution=case.execution)


def _made(case: Case, lab: Lab, kind: str = "pretrain") -> Parent:
    """A model of random weights, as if a stage had left it."""
    stage = lab.stage(find_kind(kind), find_kind(kind).recipe())
    output = lab.root / kind / "output"
    model = fresh_model(case.model, case.shape, tokenizer(), 0)
    model.save_pretrained(output / "model")
    tokenizer().save_pretrained(output / "model")
    return Parent("base", stage, output, [])


def _step_of(trainer: Any, callback: Any, *beside: Any) -> float:
    """The peak of one training step, of all micro-batches and the optimizer, with the models `beside` it."""
    from workers.training.run import run_steps

    counted: list[LiveBytes] = []
    begin, end = callback.on_step_begin, callback.on_step_end

    def on_step_begin(args: Any, state: Any, control: Any, **others: Any) -> Any:
        found = begin(args, state, control, **others)
        if state.global_step == STEP:
            gc.collect()
            counted.append(LiveBytes(tensors_in(trainer.model, trainer.optimizer.optimizer, *beside)))
            counted[0].__enter__()
        return found

    def on_step_end(args: Any, state: Any, control: Any, **others: Any) -> Any:
        if state.global_step == STEP + 1:
            counted[0].__exit__(None, None, None)
        return end(args, state, control, **others)

    with patch.multiple(callback, on_step_begin=on_step_begin, on_step_end=on_step_end):
        run_steps(trainer.context, trainer, callback)
    return float(counted[0].peak)


def _pretrain(case: Case) -> float:
    from workers.stages.pretrain import _trainer
    from workers.training.seeding import prepare

    context = _context(case, Lab(Path(mkdtemp())))
    prepare(case.recipe)
    return _step_of(*_trainer(case.recipe, context, tokenizer()))  # type: ignore[arg-type]


def _lengths(case: Case) -> list[int]:
    """Rows of two steps; where they are padded, every other one is half as long."""
    count = (STEP + 1) * case.rows
    return [case.length // 2 if case.padded and place % 2 else case.length for place in range(count)]


def _sft(case: Case) -> float:
    rows = [
        {"input_ids": ids(size, place), "labels": ids(size, place)}
        for place, size in enumerate(_lengths(case))
    ]
    return _adapted(case, rows)


def _dpo(case: Case) -> float:
    half = case.length // 2
    rows = [
        {
            "prompt_ids": ids(half, place),
            "chosen_ids": ids(half, place + 100),
            "rejected_ids": ids(size - half if case.padded and size > half else half, place + 200),
            "ref_chosen_logps": -5.0,
            "ref_rejected_logps": -6.0,
        }
        for place, size in enumerate(_lengths(case))
    ]
    return _adapted(case, rows)


def _adapted(case: Case, rows: list[dict[str, Any]]) -> float:
    """A step of TRL's trainer for SFT or DPO."""
    from importlib import import_module

    from workers.training.models import model_to_train
    from workers.training.run import stage_callback
    from workers.training.seeding import prepare

    lab = Lab(Path(mkdtemp()))
    source = ModelSource("made", "made", _made(case, lab).output / "model")
    context, recipe = _context(case, lab), case.recipe
    prepare(recipe)
    with model_to_train(context, source, case.model, case.adapter) as model:
        callback = stage_callback(context, recipe, recipe.training)  # type: ignore[attr-defined]
        trainer = import_module(f"workers.stages.{case.kind}")._trainer(
            recipe, context, model=model, tokenizer=tokenizer(), rows=rows, callback=callback
        )
        trainer.take(context, rows, "made")
        if case.kind == "dpo":
            trainer.use_reference_rows()
        return _step_of(trainer, callback)


def _tokenized(case: Case) -> list[TokenizedPair]:
    half = case.length // 2
    return [
        TokenizedPair(ids(half, place), ids(half + 1, place + 100), ids(size - half + 1, place + 200))
        for place, size in enumerate(max(each, half + 8) for each in _lengths(case))
    ]


def _reward(case: Case) -> float:
    from workers.stages.reward import _trainer
    from workers.training.seeding import prepare

    lab = Lab(Path(mkdtemp()))
    directory = _made(case, lab).output / "model"
    context, recipe = _context(case, lab), case.recipe
    prepare(recipe)
    made = _trainer(recipe, context, directory, tokenizer(), _tokenized(case), "made")  # type: ignore[arg-type]
    return _step_of(*made)


@contextmanager
def _loaded(case: Case) -> Iterator[Any]:
    """A model that is only read."""
    from workers.models.loading import borrowed_base

    lab = Lab(Path(mkdtemp()))
    source = ModelSource("made", "made", _made(case, lab).output / "model")
    storage = case.adapter.quantization if case.adapter else None
    with borrowed_base(_context(case, lab), source, case.model, storage) as model:
        yield model


def _reference(case: Case) -> float:
    from trl.trainer.utils import add_fused_lm_head

    from workers.stages.reference import OUTPUTS
    from workers.training.reference import reference_logps

    pairs = _tokenized(case)[: case.rows]
    with _loaded(case) as model:
        add_fused_lm_head(model, outputs=OUTPUTS)
        with LiveBytes(tensors_in(model)) as live:
            list(reference_logps(model, pairs, case.rows, 0))
    return float(live.peak)


def _generate(case: Case) -> float:
    from workers.evaluation.answers import Answers
    from workers.evaluation.generation import Generator

    prompt = case.length - case.new_tokens
    prompts = [ids(prompt // 2 if place % 2 else prompt, place) for place in range(case.rows)]
    with _loaded(case) as model:
        generator = Generator(model, tokenizer(), case.rows, case.micro)
        generator._ends = frozenset()
        with LiveBytes(tensors_in(model)) as live:
            generator.complete(prompts, case.new_tokens, Answers())
    return float(live.peak)


def _evaluate(case: Case) -> float:
    from workers.evaluation.answers import Answers
    from workers.evaluation.scoring import Scorer

    with _loaded(case) as model:
        scorer = Scorer(model, case.rows, case.micro)
        with LiveBytes(tensors_in(model)) as live:
            scorer.score([(ids(case.length, place), ids(2, 0)) for place in range(case.rows)], Answers())
    return float(live.peak)


def _rollout(case: Case) -> float:
    """A whole PPO step, after one that gave the optimizer its state."""
    from workers.ppo.backbones import borrowed_models, load_scorer
    from workers.ppo.loop import Loop
    from workers.stages.reward import save_scorer
    from workers.training.seeding import prepare

    lab, recipe = Lab(Path(mkdtemp())), case.recipe
    base, reward = _made(case, lab), replace(_made(case, lab, "reward"), role="reward")
    save_scorer(load_scorer(base.output / "model", case.model, "cpu"), reward.output / "model")
    context = _context(case, lab, (base, reward))
    prepare(recipe)
    prompts = [tuple(ids(case.length - case.new_tokens, place)) for place in range(2 * case.rows)]
    with (
        borrowed_models(context, recipe) as models,
        patch("workers.ppo.loop.end_tokens", lambda *_: frozenset({9})),
    ):  # type: ignore[arg-type]
        loop = Loop(context, recipe, models, prompts, False)  # type: ignore[arg-type]
        models.evaluate()
        loop._step()
        gc.collect()
        with LiveBytes(tensors_in(models.policy, models.value, models.head, loop.adam._optimizer)) as live:
            loop._step()
    return float(live.peak)


def _generation(case: Case) -> float:
    """A step of TRL's RLOO or GRPO trainer, which draws, measures and scores before it learns."""
    import math

    from workers.online.reward import reward_model
    from workers.ppo.backbones import load_scorer
    from workers.stages.online import SCORED_TOGETHER, _give, _trainer
    from workers.stages.reward import save_scorer
    from workers.training.callbacks import StageCallback
    from workers.training.models import model_to_train
    from workers.training.seeding import prepare

    lab, recipe = Lab(Path(mkdtemp())), case.recipe
    base, reward = _made(case, lab), replace(_made(case, lab, "reward"), role="reward")
    save_scorer(load_scorer(base.output / "model", case.model, "cpu"), reward.output / "model")
    context = _context(case, lab, (base, reward))
    prepare(recipe)
    source = ModelSource("made", "made", base.output / "model")
    prompts = [tuple(ids(case.length - case.new_tokens, place)) for place in range(2 * case.rows)]
    with (
        model_to_train(context, source, case.model, recipe.adapter) as model,  # type: ignore[attr-defined]
        reward_model(context, case.model, tokenizer(), SCORED_TOGETHER) as scorer,
        patch("workers.online.trainers.end_tokens", lambda *_: frozenset({9})),
    ):
        callback = StageCallback(context, recipe.seed, STEP + 1, math.inf)
        trainer = _trainer(recipe, context, model=model, tokenizer=tokenizer(), callback=callback)  # type: ignore[arg-type]
        _give(trainer, recipe, context, prompts=prompts, reward=scorer, base="made")  # type: ignore[arg-type]
        return _step_of(trainer, callback, scorer.model)


MEASURES: dict[str, Callable[[Case], float]] = {
    "pretrain": _pretrain,
    "sft": _sft,
    "dpo": _dpo,
    "reward": _reward,
    "reference": _reference,
    "generate": _generate,
    "evaluate": _evaluate,
    "ppo": _rollout,
    "rloo": _generation,
    "grpo": _generation,
}
