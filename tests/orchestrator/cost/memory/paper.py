"""The memory of the studies' stages at paper scale, as plans predict it, and the largest micro-batches that fit."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.cost.memory import Need, stage_need
from orchestrator.fitting import Fit, fits
from orchestrator.grid import load_grid
from orchestrator.plan import Plan, plan_grid
from workers.recipe import Resources

GRIDS = Path(__file__).parents[4] / "grids"
CARDS = (24, 40, 80)
HEADER = "| stage | micro-batch | needs | fits 24 GB | 40 GB | 80 GB |"


@cache
def plan(study: str, preset: str = "as-published") -> Plan:
    """The published cells of a study at paper scale; of the alignment study one seed."""
    seed = {"alignment": "seed == 0"}.get(study)
    return plan_grid(load_grid(GRIDS / f"{study}.yaml", scale="paper", preset=preset, where=seed))


def need(found: Plan, index: int, gigabytes: int) -> Need:
    """What a stage of a plan needs, asked of a card of so many GB."""
    stage = found.stages[index]
    card = Resources(gpus=1, gpu_memory_gb=gigabytes)
    parents = [(role, found.stages[place].recipe) for role, place in stage.parents]
    answer = stage_need(
        stage.kind.name, stage.recipe, found.architectures[index], card, stage.execution, parents
    )
    assert answer is not None
    return answer


def row(name: str, found: Plan, index: int) -> str:
    """A line of the table."""
    stage = found.stages[index]
    needs = [need(found, index, card) for card in CARDS]
    largest = " | ".join(str(one.micro_batch) if one.micro_batch else "none" for one in needs)
    micro = stage.execution.micro_batch or "whole"
    return f"| {name} | {micro} | {needs[0].gigabytes:.1f} GB | {largest} |"


def alignment() -> Iterator[tuple[str, int]]:
    """Names and places of one training for each model, adapter and method, on HH-RLHF's harmless pairs."""
    found = plan("alignment")
    wanted = {"dataset": "hh-rlhf", "preference": "harmless", "variant": "single"}
    for one in found.experiments:
        levels: Mapping[str, Any] = dict(zip(found.factors, one.levels, strict=True))
        if all(levels[name] == level for name, level in wanted.items()):
            yield f"{levels['method']} {levels['adapter']} {levels['model']}", one.stages[levels["method"]]


def first(found: Plan, name: str) -> int:
    """The first stage under a name of the pipeline."""
    return next(place for place, stage in enumerate(found.stages) if stage.name == name)


def table() -> list[str]:
    """All lines of the page's table."""
    lines = [HEADER, "|---|---|---|---|---|---|"]
    lines += [row(name, plan("alignment"), index) for name, index in sorted(alignment())]
    corrected, published = plan("rlhf", "corrected"), plan("rlhf")
    lines.append(row("ppo llama-7b", corrected, first(corrected, "ppo")))
    lines.append(row("ppo llama-7b, reference in float32", published, first(published, "ppo")))
    lines.append(row("sft llama-7b, every weight, on each of 4", corrected, first(corrected, "sft")))
    lines.append(row("reward llama-7b, every weight, on each of 4", corrected, first(corrected, "reward")))
    pretrained = plan("quantization", "corrected")
    lines.append(row("pretrain gpt2", pretrained, first(pretrained, "pretrain")))
    return lines


def fit(study: str, preset: str, name: str) -> Fit:
    """The largest need under a name of a study's pipeline."""
    return next(one for one in fits(plan(study, preset)) if one.stage == name)
