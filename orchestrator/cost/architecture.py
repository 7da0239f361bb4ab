"""The shape of a decoder-only transformer: what its operations and bytes are counted from, without weights."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from workers.specs.model import ModelRecipe, ModelShape

WORLD_VOCABULARY = 256
"""About the words of an embedded world, padding included."""
VOCABULARIES = {"gpt2": 50_257, "llama": 32_000, "mistral": 32_000, "smollm2": 49_152, "stories260k": 512}
"""Vocabularies of tokenizers by a part of their hub id, in lower case."""
DEFAULT_VOCABULARY = 32_000

TOKENS = "tokens"
"""The role whose parent made the tokens that a child trains on."""
Directory = Callable[[ModelRecipe], Path | None]
"""Where a model's files lie on this machine, or None: they do not."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of a transformer with `layers` equal layers.

    `gated` layers have three matrices in their feed-forward part (LLaMA, Mistral), others two (GPT-2). `tied`
    models have one matrix for embedding and output. `positions` are learned position vectors.
    """

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    head_size: int
    gated: bool = True
    tied: bool = False
    positions: int = 0

    @cached_property
    def projections(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of every linear module of a layer, under transformers' names."""
        hidden, inner = self.hidden, self.intermediate
        if not self.gated:
            return {
                "attn.c_attn": (hidden, 3 * hidden),
                "attn.c_proj": (hidden, hidden),
                "mlp.c_fc": (hidden, inner),
                "mlp.c_proj": (inner, hidden),
            }
        queries, keys = self.heads * self.head_size, self.key_value_heads * self.head_size
        return {
            "q_proj": (hidden, queries),
            "k_proj": (hidden, keys),
            "v_proj": (hidden, keys),
            "o_proj": (queries, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }

    @cached_property
    def layer_weights(self) -> int:
        """Weights of the linear modules of one layer."""
        return sum(inputs * outputs for inputs, outputs in self.projections.values())

    @property
    def head_weights(self) -> int:
        """Weights of the output layer."""
        return self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """All weights but norms and biases, which are one in ten thousand."""
        embeddings = self.head_weights * (1 if self.tied else 2) + self.positions * self.hidden
        return self.layers * self.layer_weights + embeddings

    def targets(self, modules: tuple[str, ...]) -> list[tuple[int, int]]:
        """Inputs and outputs of the modules of a layer that an adapter's `target_modules` name."""
        wanted = set(modules)
        return [size for name, size in self.projections.items() if wanted & {name, name.rpartition(".")[2]}]


def _gated(hidden: int, layers: int, heads: int, pairs: int, inner: int, words: int) -> Architecture:
    return Architecture(hidden, layers, heads, pairs, inner, words, hidden // heads)


LLAMA_7B = _gated(4096, 32, 32, 32, 11_008, 32_000)
MISTRAL_7B = _gated(4096, 32, 32, 8, 14_336, 32_000)
GPT2_SMALL = Architecture(768, 12, 12, 12, 3072, 50_257, 64, gated=False, tied=True, positions=1024)
SMOLLM2_135M = Architecture(576, 30, 9, 3, 1536, 49_152, 64, tied=True)
ROBERTA_BASE = Architecture(768, 12, 12, 12, 3072, 50_265, 64, gated=False, tied=True, positions=514)
STORIES_260K = Architecture(64, 5, 8, 4, 172, 512, 8, tied=True)
KNOWN = {
    "llama-7b": LLAMA_7B,
    "vicuna-7b": LLAMA_7B,
    "mistral-7b": MISTRAL_7B,
    "smollm2-135m": SMOLLM2_135M,
    "stories260k": STORIES_260K,
    "gpt2": GPT2_SMALL,
    "toxicitymodel": ROBERTA_BASE,
}
"""Published shapes by a part of the hub id, in lower case: LLaMA (arXiv 2302.13971, table 2), Mistral 7B (arXiv
2310.06825, table 1), GPT-2, the small ones and the classifier from their `config.json`."""
FALLBACK = _gated(768, 12, 12, 12, 2048, 32_000)
"""A model of a hundred million parameters, for want of anything known."""


class Architectures:
    """Finds the shapes of the models that recipes name, each once."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._found: dict[Any, Architecture] = {}

    def of_stage(
        self, recipe: Any, parents: Sequence[tuple[str, Any]], first: Callable[[], Architecture]
    ) -> Architecture:
        """The shape of a stage's model, from roles and recipes of its parents.

        That of the first parent, which `first` gives, unless the recipe brings its own or has no parents.
        """
        if parents and not brings_model(recipe):
            return first()
        return self.find(recipe, next((made for role, made in parents if role == TOKENS), None))

    def find(self, recipe: Any, tokens: Any = None) -> Architecture:
        """The shape of the recipe's model, or `FALLBACK` when nothing is known of it.

        `tokens` is the recipe of the parent that made the tokens, where there is one.
        """
        key = (own_model(recipe), vocabulary_of(tokens or recipe))
        found = self._found.get(key)
        if found is None:
            found = architecture_of(recipe, self._directory, tokens) or FALLBACK
            self._found[key] = found
        return found


def architecture_of(
    recipe: Any, directory: Directory | None = None, tokens: Any = None
) -> Architecture | None:
    """The shape of the model that a recipe names: its own, that of its `config.json`, or a known one; else None."""
    model = own_model(recipe)
    if model is None:
        return None
    if model.shape is not None:
        return _of_shape(model.shape, vocabulary_of(tokens or recipe))
    if model.hub is None:
        return None
    found = directory(model) if directory is not None else None
    config = None if found is None else _read_config(found / "config.json")
    hub = model.hub.lower()
    return config or next((known for part, known in KNOWN.items() if part in hub), None)


def own_model(recipe: Any) -> ModelRecipe | None:
    """The model that a recipe names, for itself or for its judge, or None."""
    judge = getattr(recipe, "judge", None)
    holders = (recipe, getattr(judge, "classifier", None), getattr(judge, "causal", None))
    models = (getattr(holder, "model", None) for holder in holders)
    return next((model for model in models if isinstance(model, ModelRecipe)), None)


def brings_model(recipe: Any) -> bool:
    """Whether a recipe computes with a model of its own, whatever its parents left: a fresh one, or a judge."""
    model = own_model(recipe)
    return hasattr(recipe, "judge") or (model is not None and model.shape is not None)


def vocabulary_of(recipe: Any) -> int:
    """The number of words of the tokenizer that a recipe names, from its hub id."""
    sources = (getattr(recipe, "tokenizer_model", None), getattr(recipe, "tokenizer", None))
    names = (getattr(source, "hub", None) for source in sources)
    hub = next((name.lower() for name in names if name), None)
    if hub is None:
        return WORLD_VOCABULARY
    return next((words for part, words in VOCABULARIES.items() if part in hub), DEFAULT_VOCABULARY)


def of_config(config: Mapping[str, Any]) -> Architecture:
    """The shape in a model's `config.json`.

    Raises:
        KeyError: it is not that of a decoder-only transformer as LLaMA, Mistral or GPT-2 write it.
    """
    if "n_embd" in config:
        hidden, heads = config["n_embd"], config["n_head"]
        inner = config.get("n_inner") or 4 * hidden
        words, layers, positions = config["vocab_size"], config["n_layer"], config.get("n_positions", 1024)
        return Architecture(
            hidden, layers, heads, heads, inner, words, hidden // heads, False, True, positions
        )
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    return Architecture(
        hidden,
        config["num_hidden_layers"],
        heads,
        config.get("num_key_value_heads") or heads,
        config["intermediate_size"],
        config["vocab_size"],
        config.get("head_dim") or hidden // heads,
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def _read_config(path: Path) -> Architecture | None:
    """A file that cannot be read is not the plan's concern: the stage that loads it will say so."""
    try:
        return of_config(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _of_shape(shape: ModelShape, vocabulary: int) -> Architecture:
    gated = shape.architecture != "gpt2"
    return Architecture(
        shape.hidden_size,
        shape.layers,
        shape.heads,
        shape.key_value_heads if gated else shape.heads,
        shape.intermediate_size,
        -(-vocabulary // shape.vocabulary_multiple) * shape.vocabulary_multiple,
        shape.hidden_size // shape.heads,
        gated,
        shape.tie_embeddings,
        0 if gated else shape.context,
    )
