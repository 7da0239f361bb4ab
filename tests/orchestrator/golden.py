"""Golden recipes: for each kind a few recipes, written in full, with the ids that they had when committed.

    python -m tests.orchestrator.golden      writes golden_recipes.json anew

Do that after adding a kind, or after raising a kind's recipe version: never to turn a red test green.
"""

import json
from pathlib import Path
from typing import Any

from workers.kinds import find_kind
from workers.stage import Stage

PATH = Path(__file__).with_name("golden_recipes.json")
SEED = 3
LATER_ROLES = {"pretrain": ("tokens",), "generate": ("reward",)}
"""Roles that a kind got after its golden recipes were written: their stages have no parents in them."""

GIVEN: dict[str, dict[str, Any]] = {
    "tokenize": {"corpus": {"documents": "paragraph"}, "held_out": 0.01, "marks": []},
    "pretrain": {"model": {"shape": {"layers": 2}}, "training": {"steps": 10}},
    "sft": {
        "adapter": {"rank": 8},
        "preferences": {"samples": 64},
        "instructions": {},
        "training": {"steps": 10},
    },
    "reference": {"preferences": {"samples": 64}, "quantization": {}},
    "dpo": {
        "adapter": {"rank": 8, "quantization": {}},
        "preferences": {"samples": 64},
        "training": {"steps": 10},
    },
    "reward": {"adapter": {"rank": 8}, "preferences": {"samples": 64}, "end_mark": True},
    "ppo": {
        "preferences": {"samples": 64},
        "regularizer": {"penalty": "jensen_shannon", "adaptive": {}},
        "training": {"steps": 10, "dropout": "mismatched"},
    },
    "rloo": {"preferences": {"samples": 64}, "beta": 0.02, "training": {"steps": 10}},
    "grpo": {"instructions": {}, "num_generations": 8, "loss_type": "grpo", "num_iterations": 2},
    "merge": {"method": "dare-ties", "density": 0.4},
    "evaluate": {"benchmarks": [{"task": "mmlu", "limit": 10, "preferences": [{}]}], "step": 5},
    "analyze": {"analyses": ["sharpness"], "step": 5, "quantization": {"weights": {"bits": 4}}},
    "generate": {
        "prompts": [{"name": "rt", "rank_by": "prompt.severe_toxicity", "prompt_file": {}}],
        "step": 5,
    },
    "judge": {
        "task": "alpacaeval",
        "judge": {"endpoint": {"model": "gpt-4", "price": {"input": 30, "output": 60}}},
        "reference": {},
        "instruction": {},
    },
    "factuality": {
        "task": "biographies",
        "extractor": {"rule": "sentences"},
        "judge": {"endpoint": {"model": "gpt-3.5-turbo", "price": {"input": 1, "output": 2}}},
        "knowledge": {"passages": 3},
    },
}


def create(kind: str, recipe: dict[str, Any]) -> Stage:
    """The stage of a recipe on parents that do not exist."""
    found = find_kind(kind)
    roles = (role for role in found.roles if role not in LATER_ROLES.get(kind, ()))
    parents = tuple((role, 32 * str(number)) for number, role in enumerate(roles))
    return Stage.create(found, found.recipe.model_validate({**recipe, "seed": SEED}), parents)


def golden(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """What is committed of a recipe: as given, in full, and its id."""
    stage = create(kind, given)
    return {"given": given, "full": stage.recipe.model_dump(mode="json"), "id": stage.id}


if __name__ == "__main__":
    content = {kind: [golden(kind, {}), golden(kind, given)] for kind, given in GIVEN.items()}
    PATH.write_text(json.dumps(content, indent=1) + "\n")
