"""A finished two by three grid at five seeds, whose effects are known."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from tests.results.lab import Lab, metric

MODELS, METHODS, SEEDS = ("small", "large", "huge"), ("sft", "dpo"), range(5)
WOBBLE = (0.01, -0.01, 0.02, -0.02, 0.0)


def score(model: str, method: str, seed: int) -> float:
    """DPO is 0.2 above SFT, except for the largest model; seeds wobble around 0, each model in another order."""
    base = {"small": 0.3, "large": 0.4, "huge": 0.5}[model]
    gain = 0.0 if method == "sft" or model == "huge" else 0.2
    return base + gain + WOBBLE[(seed + len(model) + len(method)) % 5]


def loss(model: str, method: str, seed: int) -> float:
    """Less is better: the other way round."""
    return 2.0 - score(model, method, seed)


def finished(root: Path, keep: Callable[[str, str, int], bool] = lambda *_: True, **facts: Any) -> Lab:
    """A workspace with the metrics `mmlu` and `perplexity` of every run that `keep` holds for."""
    lab = Lab.at(root)
    cells = {f"{m}-{t}-{s}": (m, t, s) for m, t, s in product(MODELS, METHODS, SEEDS)}
    levels = {name: {"model": m, "method": t, "size": "tiny", "seed": s} for name, (m, t, s) in cells.items()}
    lab.plan(levels, {name: {"eval": f"s-{name}"} for name in cells}, **facts)
    for name, cell in cells.items():
        if keep(*cell):
            lab.run(f"s-{name}", metric("mmlu", score(*cell)), metric("perplexity", loss(*cell)))
    return lab
