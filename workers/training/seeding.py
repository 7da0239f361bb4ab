"""One stage, one set of random streams: what makes a stage alone equal to the hundredth of a warm worker."""

import gc
import os
import random
from functools import lru_cache

import numpy
import torch

from workers.identity import derive_seed
from workers.recipe import Recipe


def prepare(recipe: Recipe) -> None:
    """Set threads and deterministic algorithms, and seed every generator, before a stage computes anything.

    Each use of randomness seeds again from its own derived seed (`seed_all`), so none depends on how much
    another one drew.
    """
    _freeze_libraries()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory would take half of a small DPO step; no kernel here reads what it has not written.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    torch.set_grad_enabled(True)
    seed_all(derive_seed(recipe.seed, "stage"))


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators on every device."""
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


@lru_cache(maxsize=1)
def _freeze_libraries() -> None:
    """Once a process: keep what the imports left out of every later garbage collection.

    Trainer starts each training with a full collection, which takes 0.3 s in a process that holds these
    libraries.
    """
    gc.collect()
    gc.freeze()
