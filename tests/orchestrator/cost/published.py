"""Published wall times, what the cost model predicts for them, and its one fitted figure.

Alignment study, section 12: one 40 GB A100, 700 steps of 16, QLoRA. Quantization study, section 11: 300,000 steps of
GPT-2 small on four 80 GB A100s. All with the A100's chip, so all share one utilisation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import exp, log
from pathlib import Path

from scipy.optimize import minimize_scalar

from orchestrator.cost import GPUS, Accelerator, architecture_of, expected_seconds
from orchestrator.grid import load_grid
from orchestrator.plan import Plan, PlannedStage, plan_grid
from workers.kinds import find_kind
from workers.recipe import Execution, Resources

GRID = Path(__file__).parents[3] / "grids" / "alignment.yaml"
A100_40 = next(gpu for gpu in GPUS if gpu.name == "A100 40GB")
A100_80 = next(gpu for gpu in GPUS if gpu.name == "A100 80GB")

Predict = Callable[[float], list[float]]
"""From a utilisation to the minutes of each cell that a published time stands for."""


@dataclass(frozen=True)
class Published:
    """A published time in minutes, and the cells of the plan that it is said of."""

    name: str
    minutes: float
    cells: Predict

    def predicted(self, utilisation: float) -> float:
        """Minutes, the geometric mean of the cells."""
        cells = self.cells(utilisation)
        return exp(sum(map(log, cells)) / len(cells))


@cache
def plan() -> Plan:
    """The published runs at paper scale, of one seed."""
    loaded = load_grid(GRID, scale="paper", preset="as-published", cells="published", where="seed == 0")
    return plan_grid(loaded)


def with_utilisation(gpu: Accelerator, utilisation: float) -> Accelerator:
    """The same GPU with another utilisation."""
    return replace(gpu, utilisation=utilisation)


def stage_seconds(stage: PlannedStage, utilisation: float) -> float:
    """The cost of a planned stage at another utilisation of the GPU that the plan computes it on."""
    architecture = architecture_of(stage.recipe)
    assert architecture is not None
    return expected_seconds(
        stage.kind,
        stage.recipe,
        architecture=architecture,
        resources=stage.resources,
        execution=stage.execution,
        parents=[(role, plan().stages[index].recipe) for role, index in stage.parents],
        accelerator=with_utilisation(A100_40, utilisation),
    )


def trainings(method: str, dataset: str) -> list[list[PlannedStage]]:
    """The stages of each single QLoRA training: a DPO run's reference was in its published time."""
    found = []
    for one in plan().experiments:
        levels = dict(zip(plan().factors, one.levels, strict=True))
        if [levels[name] for name in ("method", "dataset", "adapter", "variant")] == [
            method,
            dataset,
            "qlora",
            "single",
        ]:
            stage = plan().stages[one.stages[method]]
            parents = [plan().stages[index] for role, index in stage.parents if role == "reference"]
            found.append([stage, *parents])
    return found


def alignment(method: str, dataset: str, minutes: float) -> Published:
    """A published time of the alignment study."""
    cells = trainings(method, dataset)
    return Published(
        f"{method} {dataset}",
        minutes,
        lambda utilisation: [sum(stage_seconds(one, utilisation) for one in cell) / 60 for cell in cells],
    )


def pretraining_minutes(utilisation: float) -> list[float]:
    """GPT-2 small in the quantization study's recipe (section 3): 512 sequences of 1,024 tokens a step."""
    kind = find_kind("pretrain")
    shape = {"hidden_size": 768, "layers": 12, "heads": 12, "key_value_heads": 12, "intermediate_size": 3072}
    content = {
        "model": {
            "shape": {"architecture": "gpt2", "context": 1024, "tie_embeddings": True, **shape},
            "attention": "flash_attention_2",
        },
        "tokenizer": {"hub": "openai-community/gpt2"},
        "data": {"block": 1024},
        "training": {"steps": 300_000, "batch_size": 512, "autocast": "bfloat16"},
    }
    recipe = kind.recipe.model_validate(content)
    architecture = architecture_of(recipe)
    assert architecture is not None
    seconds = expected_seconds(
        kind,
        recipe,
        architecture=architecture,
        resources=Resources(gpus=4, gpu_memory_gb=80),
        execution=Execution(micro_batch=32),
        accelerator=with_utilisation(A100_80, utilisation).times(4),
    )
    return [seconds / 60]


@cache
def published() -> tuple[Published, ...]:
    """All five."""
    return (
        alignment("sft", "beavertails", 15),
        alignment("sft", "hh-rlhf", 20),
        alignment("dpo", "beavertails", 60),
        alignment("dpo", "hh-rlhf", 90),
        Published("pretrain gpt2", 4.3 * 24 * 60, pretraining_minutes),
    )


def fitted(times: Sequence[Published]) -> float:
    """The utilisation with the least squared error of the logarithms of `times`."""

    def error(utilisation: float) -> float:
        return sum(log(one.predicted(utilisation) / one.minutes) ** 2 for one in times)

    return float(minimize_scalar(error, bounds=(0.05, 1.0), method="bounded", options={"xatol": 1e-3}).x)


@cache
def left_out() -> Mapping[str, tuple[float, float]]:
    """For each time: the utilisation that the others fit, and the minutes that it predicts."""
    found = {}
    for one in published():
        utilisation = fitted([other for other in published() if other is not one])
        found[one.name] = (utilisation, one.predicted(utilisation))
    return found


def table() -> list[str]:
    """Markdown rows: what, published, predicted, ratio, and without its own time the fit and the prediction."""
    rows = []
    for one in published():
        predicted = one.predicted(A100_40.utilisation)
        alone, without = left_out()[one.name]
        cells = one.cells(A100_40.utilisation)
        rows.append(
            f"| {one.name} | {span(one.minutes)} | {span(predicted)} | {span(min(cells))} to {span(max(cells))} "
            f"| {predicted / one.minutes:.2f} | {alone:.2f} | {without / one.minutes:.2f} |"
        )
    return rows


def span(minutes: float) -> str:
    """Minutes, or days above two of them."""
    return f"{minutes:.0f} min" if minutes < 2 * 24 * 60 else f"{minutes / 24 / 60:.1f} d"
