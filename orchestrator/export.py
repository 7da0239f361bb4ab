"""An experiment's model as a folder that the Hugging Face Hub takes: its files, and a model card with its results.

Nothing is uploaded: `hf upload` does that with the folder.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.view import Experiment, View
from results.files import WorkspaceError
from workers.attempts import read_commit
from workers.recipe import non_default
from workers.stage import Stage

MODELS = ("adapter", "model")
"""Folders of a stage's output that hold a model in PEFT's or transformers' own layout."""
TEMPLATE = """\
---
{{ card_data }}
---

# {{ name }}

{{ kind }} of the study *{{ study }}* (scale {{ scale }}, preset {{ preset }}), trained with Yates.

## Factors

{{ factors }}

## Results

{{ results }}

## Recipe

Everything that the training's result depends on and that differs from the defaults of its stage kind:

```json
{{ recipe }}
```

Stage {{ stage }}, attempt {{ attempt }}.
"""


@dataclass(frozen=True)
class TrainedModel:
    """The stage of an experiment that left its model, and the folder in which that lies."""

    stage: Stage
    attempt: str
    folder: Path

    @property
    def base(self) -> str | None:
        """What an adapter says that it stands on: a hub id, or `stage-…` for a stage of the same workspace."""
        path = self.folder / "adapter_config.json"
        return json.loads(path.read_text())["base_model_name_or_path"] if path.exists() else None


def export_model(view: View, text: str, directory: Path) -> TrainedModel:
    """Copy the model of the experiment `text` into `directory`, a new folder, with a README.md that is its model card.

    Raises:
        WorkspaceError: no such experiment, it left no model, or the folder is there and not empty.
    """
    experiment = view.find(text)
    found = trained_model(view, experiment)
    if directory.exists() and any(directory.iterdir()):
        raise WorkspaceError(f"{directory} is not empty: name a new folder")
    shutil.copytree(found.folder, directory, dirs_exist_ok=True)
    (directory / "README.md").write_text(model_card(view, experiment, found), encoding="utf-8")
    return found


def trained_model(view: View, experiment: Experiment) -> TrainedModel:
    """The last model among the experiment's stages.

    Raises:
        WorkspaceError: none of its stages is done that leaves a model; a merge is rebuilt where it is needed.
    """
    for stage in reversed(list(experiment.stages.values())):
        commit = read_commit(view.workspace, stage)
        for name in MODELS if commit is not None else ():
            folder = view.workspace.output(stage, commit["attempt"]) / name  # type: ignore[index]
            if folder.is_dir():
                return TrainedModel(Stage.read(view.workspace, stage), commit["attempt"], folder)  # type: ignore[index]
    raise WorkspaceError(
        f"{experiment.row.name} has left no model to export: none of its stages that are done wrote an adapter or a "
        "model (a merge is made again wherever it is needed, and an original is on the hub)"
    )


def model_card(view: View, experiment: Experiment, found: TrainedModel) -> str:
    """The card: metadata with every primary metric, the factors, the results with their errors, the recipe."""
    from huggingface_hub import ModelCard

    factors = experiment.factors
    card = ModelCard.from_template(
        _metadata(view, experiment, found),
        template_str=TEMPLATE,
        name=experiment.row.name,
        kind="A LoRA adapter" if found.base else "A model",
        factors=_table(["factor", "level"], [[name, level] for name, level in factors.items()]),
        results=_results(view, experiment),
        recipe=json.dumps(non_default(found.stage.recipe), indent=2),
        stage=found.stage.id,
        attempt=found.attempt,
        **{name: factors[name] for name in ("study", "scale", "preset")},
    )
    return str(card)


def _metadata(view: View, experiment: Experiment, found: TrainedModel) -> Any:
    from huggingface_hub import EvalResult, ModelCardData

    base = found.base
    figures = [
        EvalResult(
            task_type="text-generation",
            dataset_type=row["task"],
            dataset_name=row["task"],
            metric_type=row["metric"],
            metric_value=row["value"],
        )
        for row in _primary(view, experiment)
    ]
    return ModelCardData(
        model_name=experiment.row.name,
        base_model=None if base is None or base.startswith("stage-") else base,
        library_name="peft" if base else "transformers",
        tags=["yates", str(experiment.factors["study"])],
        eval_results=figures or None,
    )


def _primary(view: View, experiment: Experiment) -> Iterator[dict[str, Any]]:
    """Primary metrics of the experiment's finished stages; of several steps the last."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for stage in experiment.stages.values():
        commit = read_commit(view.workspace, stage)
        for row in commit["metrics"] if commit is not None else ():
            if row["primary"] and row["value"] is not None:
                found[row["task"], row["metric"]] = dict(row)
    yield from found.values()


def _results(view: View, experiment: Experiment) -> str:
    rows = [
        [row["task"], row["metric"], row["value"], row["stderr"], row["n"], row["unit"]]
        for row in _primary(view, experiment)
    ]
    return _table(["task", "metric", "value", "standard error", "n", "unit"], rows) if rows else "None yet."


def _table(header: list[str], rows: list[list[Any]]) -> str:
    from tabulate import tabulate

    return str(tabulate(rows, header, tablefmt="github", floatfmt=".4g", missingval="–"))
