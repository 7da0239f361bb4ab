"""Workspaces for reports: one with several cells and seeds, and one whose every text tries to break out of the page."""

from itertools import product
from pathlib import Path
from typing import Any

from results.files import json_bytes, write_atomic
from results.frames import ask
from results.layout import Workspace
from results.report.source import Source
from results.schema import write_curves, write_samples
from results.store import compact
from tests.results.lab import Lab, attempt, metric

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`${7*7}&amp;\u2028\u202e"
"""A text that breaks out of a script, an element, an attribute and a template where it is not escaped."""

MODELS, METHODS, SEEDS = ("small", "large"), ("sft", "dpo"), (0, 1, 2)
LIBRARY = "window.vegaEmbed = async () => ({ view: { addEventListener() {} } });"
"""Stands for the plotting library where nothing is drawn."""


def value(model: str, method: str, seed: int) -> float:
    return 0.5 + 0.1 * (model == "large") + 0.05 * (method == "dpo") + 0.01 * seed


def study(root: Path, text: str = "plain") -> Lab:
    """Twelve experiments on two shared bases; one failed, one was never run. `text` is what models wrote."""
    lab = Lab.at(root)
    levels, pipelines, parents = {}, {}, {}
    for model, method, seed in product(MODELS, METHODS, SEEDS):
        name = f"{model}-{method}-{seed}"
        levels[name] = {"model": model, "method": method, "seed": seed, "note": text}
        pipelines[name] = {"train": f"train-{name}", "evaluate": f"evaluate-{name}"}
        parents[f"train-{name}"] = [f"base-{model}"]
        parents[f"evaluate-{name}"] = [f"train-{name}"]
    lab.plan(levels, pipelines, parents, study="toy", grid=f"{text}.yaml", shapes={"cpu": {"gpus": 2.0}})
    for model in MODELS:
        lab.run(f"base-{model}")
    for place, (model, method, seed) in enumerate(product(MODELS, METHODS, SEEDS)):
        name = f"{model}-{method}-{seed}"
        if place < 10:
            finish(lab, name, value(model, method, seed), text)
    lab.journal.ended(
        {**attempt("train-large-dpo-1", "t", "bug"), "message": text, "traceback": text, "kind": "sft"}
    )
    return lab


def finish(lab: Lab, name: str, accuracy: float, text: str) -> None:
    token = lab.run(f"train-{name}", metric("sft", 0.3, "loss"))
    output = lab.workspace.output(f"train-{name}", token)
    rows = [{"step": step, "name": "loss", "value": 1 / (step + 1)} for step in range(300)]
    write_curves(output / "curves.parquet", rows)
    figures = [metric("quiz", accuracy), metric("quiz", 12.0, "length", primary=False)]
    token = lab.run(f"evaluate-{name}", *figures)
    sample: dict[str, Any] = {
        "task": "quiz",
        "prompt": f"{text}?",
        "completion": text,
        "verdict": "right",
        "score": 1.0,
    }
    write_samples(
        lab.workspace.output(f"evaluate-{name}", token) / "samples.parquet",
        [{**sample, "item": item} for item in range(20)],
    )
    recipe = json_bytes({"recipe": {"training": {"steps": 300, "note": text}}})
    write_atomic(lab.workspace.stage_file(f"train-{name}"), recipe)


def source(workspace: Workspace, name: str = "runs") -> Source:
    return ask(workspace, lambda snapshot: Source(name, snapshot))


def stored(root: Path, text: str = "plain") -> Workspace:
    """The study, its store compacted."""
    lab = study(root, text)
    compact(lab.workspace)
    return lab.workspace
