"""Kept answers of a generation that was never computed, and judging them."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from results.layout import Workspace
from results.schema import write_samples
from workers.context import Parent, StageContext, StageResult, metric
from workers.recipe import Execution, Service
from workers.specs.generate import GENERATE, GenerateRecipe
from workers.specs.judge import JUDGE, JudgeRecipe
from workers.stage import Stage
from workers.stages.judge import run

TASK = "alpacaeval"
PROMPTS = [f"question number {number} ?" for number in range(12)]
ANSWERS = ["short", "a much longer answer", "the same", "", "medium size"] * 3
REFERENCES = ["a reference", "tiny", "the same", "something", "other words"] * 3


def generations(
    root: Path, answers: list[str], role: str = "generations", prompts: list[str] | None = None, step: int = 5
) -> Parent:
    """A parent that kept `answers`."""
    asked = prompts or PROMPTS
    output = root / f"{role}-output"
    rows = [
        {
            "task": TASK,
            "item": number,
            "prompt": prompt,
            "completion": answer,
            "tokens": len(answer.split()),
            "ended": True,
        }
        for number, (prompt, answer) in enumerate(zip(asked, answers, strict=False))
    ]
    write_samples(output / "samples.parquet", rows)
    stage = Stage.create(GENERATE, GenerateRecipe(seed=len(role), step=step))
    shape = [metric(TASK, 2.5, metric="length", n=len(rows)), metric(TASK, 0.25, metric="repetition")]
    return Parent(role, stage, output, shape)


def reference_file(root: Path, outputs: list[str] | None = None, prompts: list[str] | None = None) -> Path:
    """Stored outputs in AlpacaEval's format."""
    path = root / "outputs.json"
    pairs = zip(prompts or PROMPTS, outputs or REFERENCES, strict=False)
    path.write_text(json.dumps([{"instruction": prompt, "output": output} for prompt, output in pairs]))
    return path


def recipe_of(**others: Any) -> JudgeRecipe:
    return JudgeRecipe.model_validate({"task": TASK, "batch_size": 5, **others})


def context_of(
    root: Path, recipe: JudgeRecipe, parents: list[Parent], attempt: str = "one", **others: Any
) -> StageContext:
    stage = Stage.create(JUDGE, recipe)
    fields: dict[str, Any] = {"execution": Execution(device="cpu"), **others}
    directory = root / "attempts" / attempt
    (directory / "output").mkdir(parents=True, exist_ok=True)
    return StageContext(workspace=Workspace(root), stage=stage, attempt=directory, parents=parents, **fields)


def judged(
    root: Path, recipe: JudgeRecipe, parents: list[Parent], attempt: str = "one", **others: Any
) -> tuple[StageResult, list[dict[str, Any]]]:
    """What the stage returns, and its samples."""
    context = context_of(root, recipe, parents, attempt, **others)
    result = run(recipe, context)
    return result, pq.read_table(context.output / "samples.parquet").to_pylist()


def figures(result: StageResult) -> dict[str, Any]:
    """Metric to value, of the one task."""
    return {row["metric"]: row["value"] for row in result.metrics}


def reaching(address: str, **others: Any) -> Execution:
    """An execution whose service is at `address`."""
    return Execution(device="cpu", service=Service(base_url=address, **others))
