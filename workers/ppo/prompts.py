"""The prompts of a PPO run: read, rendered, tokenized, and the order in which episodes take them."""

from typing import Any

import torch

from workers.context import BadInput, StageContext
from workers.data.dialogues import Example, Pair
from workers.data.instructions import load_instructions
from workers.data.preferences import load_pairs
from workers.data.prepared import Account, renderer
from workers.data.sampling import draw_pairs
from workers.identity import derive_seed
from workers.models.cache import rows_cache
from workers.specs.ppo import PpoRecipe

Tokens = tuple[int, ...]


def load_prompts(context: StageContext, recipe: PpoRecipe, tokenizer: Any) -> tuple[list[Tokens], Account]:
    """Each distinct prompt once, at most `rollout.prompt_tokens` long, and what was left out.

    Raises:
        BadInput: not exactly one kind of data is given, it is missing or malformed, or no prompt is left.
    """
    data = (recipe.preferences, recipe.instructions, recipe.template, recipe.rollout.prompt_tokens)
    drawn = recipe.seed if recipe.preferences and recipe.preferences.sampling == "per-seed" else None
    key = ("prompts", data, str(tokenizer.name_or_path), drawn, tuple(sorted(context.hub_map.items())))
    found: tuple[list[Tokens], Account] = rows_cache(context).get(
        key, lambda: _read(context, recipe, tokenizer)
    )
    prompts, account = found
    return list(prompts), Account(account.read, account.used, account.dropped.copy())


def prompts_of_step(prompts: list[Tokens], step: int, batch_size: int, seed: int) -> list[Tokens]:
    """The prompts of PPO step `step` (from 0): passes over all of them one after another, each shuffled anew.

    It depends on the arguments alone, so a resumed run needs no place in the data.
    """
    first = step * batch_size
    return [_prompt_of(prompts, place, seed) for place in range(first, first + batch_size)]


def _prompt_of(prompts: list[Tokens], place: int, seed: int) -> Tokens:
    epoch, position = divmod(place, len(prompts))
    return prompts[_permutation(len(prompts), epoch, seed)[position]]


_PERMUTATIONS: dict[tuple[int, int, int], list[int]] = {}


def _permutation(count: int, epoch: int, seed: int) -> list[int]:
    """The order of one pass; the last two are remembered."""
    key = (count, epoch, seed)
    if key not in _PERMUTATIONS:
        while len(_PERMUTATIONS) > 1:
            _PERMUTATIONS.pop(next(iter(_PERMUTATIONS)))
        generator = torch.Generator().manual_seed(derive_seed(seed, f"order/{epoch}"))
        _PERMUTATIONS[key] = torch.randperm(count, generator=generator).tolist()
    return _PERMUTATIONS[key]


def _read(context: StageContext, recipe: PpoRecipe, tokenizer: Any) -> tuple[list[Tokens], Account]:
    examples, account = _examples(context, recipe)
    usable = [one for one in examples if one.prompt.strip()]
    account.dropped["empty prompt"] += len(examples) - len(usable)
    render = renderer(recipe.template, tokenizer).prompt
    texts = list(dict.fromkeys(render(one.history, one.prompt) for one in usable))
    account.dropped["repeated"] += len(usable) - len(texts)
    encoded = tokenizer(texts)["input_ids"] if texts else []
    prompts = [tuple(ids) for ids in encoded if 0 < len(ids) <= recipe.rollout.prompt_tokens]
    account.dropped["too long"] += len(encoded) - len(prompts)
    account.used = len(prompts)
    if not prompts:
        raise BadInput(
            f"no prompt is left of {account.read} rows: {dict(account.dropped)} "
            f"(rollout.prompt_tokens is {recipe.rollout.prompt_tokens})"
        )
    return prompts, account


def _examples(context: StageContext, recipe: PpoRecipe) -> tuple[list[Example | Pair], Account]:
    if (recipe.preferences is None) == (recipe.instructions is None):
        raise BadInput("`ppo` needs exactly one of `preferences` and `instructions` in its recipe")
    if recipe.instructions is not None:
        rows = load_instructions(context, recipe.instructions)
        return list(rows), Account(len(rows))
    assert recipe.preferences is not None
    found = load_pairs(context, recipe.preferences, "train")
    pairs = draw_pairs(found.pairs, recipe.preferences, recipe.seed)
    return list(pairs), Account(found.read, 0, found.dropped)
