"""Identity: a stage's id is a hash of what it computes.

    id = sha256(kind, recipe version of the kind, recipe digest, seed, [(role, parent id), ...])

The recipe digest covers the settings that differ from their defaults, apart from the seed, which is
hashed beside it so that a plan can reuse one digest for every seed of a cell.
"""

import hashlib
import json
from collections.abc import Sequence

from workers.recipe import Recipe, non_default

ID_LENGTH = 32


def recipe_digest(recipe: Recipe) -> str:
    """The hash of a recipe without its seed (hexadecimal, 64 digits)."""
    settings = non_default(recipe)
    settings.pop("seed", None)
    return hashlib.sha256(_canonical(settings)).hexdigest()


def stage_id(kind: str, version: int, digest: str, seed: int, parents: Sequence[tuple[str, str]]) -> str:
    """The id of a stage (hexadecimal, 32 digits).

    `parents` are (role, stage id) pairs; their order counts, as it does for the merge of several models.
    """
    text = "\n".join(
        [kind, str(version), digest, str(seed), *(f"{role}={parent}" for role, parent in parents)]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def text_digest(*parts: str) -> str:
    """The hash of some strings (hexadecimal, 64 digits), each apart from the next."""
    return hashlib.sha256(_canonical(list(parts))).hexdigest()


def derive_seed(seed: int, use: str) -> int:
    """The seed of one use of randomness (`initialisation`, `order`, `dropout`, …), in 0 … 2**31 - 1.

    Uses do not share streams, so changing how often one is drawn from cannot change another.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{use}".encode()).digest()[:4]) >> 1


def _canonical(value: object) -> bytes:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    ).encode()
