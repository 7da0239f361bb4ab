"""Two frozen backbones for four models: policy and reference share one, value and reward the other.

The reference is the policy with its adapter switched off, the reward model is the value model with its adapter
switched off. So the base of the policy must be a dense model: were it an adapter on something else, switching off
would go too far. Where the value has the policy's backbone, it is a second set of modules around the same weights.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from workers.context import BadInput, Parent, StageContext
from workers.evaluation.candidate import tokenizer_digest
from workers.evaluation.forward import base_model
from workers.identity import derive_seed
from workers.models.adapters import lora_config, save_adapter, start_adapter
from workers.models.cache import model_cache
from workers.models.loading import borrowed, borrowed_base, device_of, load_model, load_tokenizer
from workers.models.pretrained import MALFORMED, read_pretrained
from workers.models.quantization import DTYPES, bits_and_bytes, keep_storage, precision_name
from workers.models.sources import ModelSource, base_source, parent_source
from workers.specs.model import LoraRecipe, ModelRecipe, QuantizationRecipe
from workers.specs.ppo import PpoRecipe
from workers.training.models import without_dropout


@dataclass
class Models:
    """Policy and value with their adapters on, the value head, and what the reference is.

    `separate_reference` is a model of its own, None where the reference is the policy without its adapter;
    `separate_reward` likewise, None where it is the value model without its adapter. `base_name` is what the policy's
    adapter calls its base.
    """

    policy: Any
    value: Any
    head: nn.Linear
    separate_reference: Any | None
    separate_reward: Any | None
    tokenizer: Any
    base_name: str

    def reference(self) -> Any:
        """A context within which the model that it gives is the reference."""
        return _without_adapter(self.policy, self.separate_reference)

    def reward(self) -> Any:
        """A context within which the model that it gives is the reward model."""
        return _without_adapter(self.value, self.separate_reward)

    def trained(self) -> dict[str, nn.Parameter]:
        """Every trained parameter by a name of its own, in a fixed order."""
        parts = (("policy", self.policy), ("value", self.value), ("head", self.head))
        return {
            f"{part}.{name}": parameter
            for part, model in parts
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    def save_weights(self, directory: Path) -> None:
        """Write the policy's `adapter/`."""
        save_adapter(self.policy, directory / "adapter", self.base_name)

    def evaluate(self) -> None:
        """No dropout: rollouts and whatever is measured."""
        self.policy.eval()
        self.value.eval()

    def train(self, dropout: bool) -> None:
        """Training mode; the adapters' dropout only as asked for."""
        for model in (self.policy, self.value):
            model.train()
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.train(dropout)


@contextmanager
def borrowed_models(context: StageContext, recipe: PpoRecipe) -> Iterator[Models]:
    """Everything that PPO computes with, kept warm between stages.

    Raises:
        BadInput: a parent is missing or left no dense model, or the reward model has another tokenizer.
    """
    source, parent = base_source(context, recipe.model), reward_parent(context)
    scorer = parent_source(parent)
    with context.phase("load"):
        tokenizer = load_tokenizer(context, source.directory)
        check_tokenizers(tokenizer, load_tokenizer(context, scorer.directory), parent)
    value_adapter = recipe.value_adapter or recipe.adapter
    with (
        borrowed_base(context, source, recipe.model, recipe.adapter.quantization) as policy,
        borrowed_reward(context, scorer, recipe.model, value_adapter.quantization) as reward,
        _separate(context, source, recipe) as reference,
    ):
        _check_shapes(policy, reward)
        with context.phase("load"):
            own = recipe.value_backbone == "policy"
            valued = twin(policy) if own else reward
            seeds = [derive_seed(recipe.seed, use) for use in ("initialisation", "initialisation/value")]
            models = Models(
                _adapted(context, policy, recipe.adapter, seeds[0]),
                _adapted(context, valued, value_adapter, seeds[1], None),
                _value_head(valued),
                reference,
                reward if own else None,
                tokenizer,
                source.name,
            )
            _set_dtype(models, recipe.training.adapter_dtype)
        yield models


def twin(model: nn.Module) -> nn.Module:
    """A second tree of modules around the same weights: what is put on one is not on the other."""
    shared: dict[int, Any] = {id(one): one for one in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


@contextmanager
def borrowed_reward(
    context: StageContext,
    source: ModelSource,
    recipe: ModelRecipe,
    quantization: QuantizationRecipe | None = None,
) -> Iterator[Any]:
    """A frozen reward model in evaluation mode, kept warm as `borrowed_base` keeps a language model."""
    device = device_of(context)
    key = ("reward", source.key, precision_name(recipe.dtype, quantization), recipe.attention, device)
    with borrowed(
        context, source, key, lambda: load_scorer(source.directory, recipe, device, quantization)
    ) as model:
        yield model


def load_scorer(
    directory: Path, recipe: ModelRecipe, device: str, quantization: QuantizationRecipe | None = None
) -> Any:
    """A model with a head that gives one score, in evaluation mode; a language model gets a fresh head.

    Raises:
        BadInput: the files cannot be read as such a model.
    """
    from transformers import AutoModelForSequenceClassification
    from trl.trainer.reward_trainer import suppress_seqcls_warning

    storage = bits_and_bytes(quantization)
    if storage is not None:
        storage.llm_int8_skip_modules = ["score"]
    try:
        with suppress_seqcls_warning():
            model = read_pretrained(
                AutoModelForSequenceClassification,
                directory,
                recipe.dtype,
                device,
                num_labels=1,
                attn_implementation=recipe.attention,
                quantization_config=storage,
            )
    except MALFORMED as error:
        raise BadInput(f"{directory} cannot be loaded as a reward model: {error}") from None
    keep_storage(model)
    without_dropout(model)
    return model.requires_grad_(False).eval()


def reward_parent(context: StageContext) -> Parent:
    """The parent in role `reward`.

    Raises:
        BadInput: there is none.
    """
    parent = context.parent("reward")
    if parent is None:
        kind = context.stage.kind.name
        raise BadInput(f"`{kind}` needs a parent in role `reward`: the stage that trained the reward model")
    return parent


def check_tokenizers(policy: Any, reward: Any, parent: Parent) -> None:
    """Refuse a reward model that reads other tokens than the policy writes.

    Raises:
        BadInput: the two tokenizers differ.
    """
    if tokenizer_digest(policy) != tokenizer_digest(reward):
        raise BadInput(
            f"the reward model of stage {parent.stage.id} has another tokenizer than the policy ({len(reward)} "
            f"against {len(policy)} words): it reads the policy's tokens; train the reward model from the same base"
        )


def _check_shapes(policy: Any, reward: Any) -> None:
    if policy.config.vocab_size != reward.config.vocab_size:
        raise BadInput(
            f"policy and reward model have {policy.config.vocab_size} and {reward.config.vocab_size} embeddings"
        )


def _value_head(model: Any) -> nn.Linear:
    """A head that values everything at 0."""
    head = nn.Linear(model.config.hidden_size, 1, device=model.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


@contextmanager
def _separate(context: StageContext, source: ModelSource, recipe: PpoRecipe) -> Iterator[Any | None]:
    """The reference's own backbone where the recipe gives it another precision than the policy's."""
    if recipe.reference_dtype is None:
        yield None
    else:
        other = recipe.model.model_copy(update={"dtype": recipe.reference_dtype})
        device = device_of(context)
        key = ("reference", source.key, other.dtype, other.attention, device)
        with context.phase("load"):
            model = model_cache(context).get(key, lambda: load_model(source, other, None, device))
        without_dropout(model)
        yield model


def _adapted(
    context: StageContext, model: Any, recipe: LoraRecipe, seed: int, task: str | None = "CAUSAL_LM"
) -> Any:
    """The model under a fresh adapter, its own dropout off."""
    from peft import get_peft_model

    without_dropout(model)
    configuration = lora_config(recipe)
    configuration.task_type = task
    adapted = get_peft_model(model, configuration)
    start_adapter(adapted, seed)
    if context.execution.gradient_checkpointing:
        base_model(adapted).gradient_checkpointing_enable({"use_reentrant": False})
    return adapted


def _set_dtype(models: Models, dtype: str) -> None:
    for parameter in models.trained().values():
        parameter.data = parameter.data.to(DTYPES[dtype])


@contextmanager
def _without_adapter(model: Any, other: Any | None) -> Iterator[Any]:
    with model.disable_adapter() if other is None else nullcontext():
        yield model if other is None else other


def autocast(name: str, device: str) -> Any:
    """The context in which models compute: torch's autocast, or none."""
    return nullcontext() if name == "none" else torch.autocast(device, dtype=DTYPES[name])
