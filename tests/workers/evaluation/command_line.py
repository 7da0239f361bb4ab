"""lm-eval as its own command line runs it: task files written to disk, a process, and the samples it logs."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workers.evaluation.bbh import _definition
from workers.evaluation.harness import LocalTask, template
from workers.specs.evaluate import Benchmark

PREFIX = "yates_"
"""Before the name of a task, which lm-eval's own tasks might have too."""


@dataclass(frozen=True)
class Logged:
    """What the command line reports of a task: its metrics, and its samples in the order of the rows."""

    metrics: dict[str, float]
    samples: list[dict[str, Any]]


def write_mmlu(directory: Path, tasks: dict[str, LocalTask], benchmark: Benchmark) -> None:
    """A task file and its rows for every subject, asked by letters."""
    for subject, task in tasks.items():
        config = template("mmlu_letters", num_fewshot=benchmark.shots)
        if benchmark.shots:
            config["fewshot_split"], config["fewshot_config"] = "dev", {"sampler": "first_n"}
        _write(directory, subject, config, {"test": task.rows, "dev": task._splits["shots"]})


def write_bbh(directory: Path, tasks: dict[str, LocalTask], benchmark: Benchmark) -> None:
    """A task file and its rows for every published task."""
    for name, task in tasks.items():
        _write(directory, name, _definition(name, benchmark, True), {"test": task.rows})


def _write(directory: Path, name: str, config: dict[str, Any], splits: dict[str, Any]) -> None:
    files = {split: directory / f"{name}.{split}.jsonl" for split, rows in splits.items() if rows}
    for split, path in files.items():
        path.write_text("".join(json.dumps(row) + "\n" for row in splits[split]), encoding="utf-8")
    source = {
        "task": PREFIX + name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {split: str(path) for split, path in files.items()}},
        "test_split": "test",
    }
    content = yaml.safe_dump({**config, **source}, sort_keys=False, allow_unicode=True)
    (directory / f"{name}.yaml").write_text(content, encoding="utf-8")


def lm_eval(
    model: Path, directory: Path, output: Path, batch_size: int, max_length: int
) -> dict[str, Logged]:
    """Run every task file of a directory; what was logged, by the task's name."""
    names = sorted(path.stem for path in directory.glob("*.yaml"))
    settings = f"pretrained={model},dtype=float32,max_length={max_length}"
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", settings, "--device", "cpu"]
    command += ["--tasks", ",".join(PREFIX + name for name in names), "--include_path", str(directory)]
    command += ["--batch_size", str(batch_size), "--log_samples", "--output_path", str(output)]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(output / "cache")}
    quiet = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "LMEVAL_LOG_LEVEL": "ERROR"}
    done = subprocess.run(
        command, env={**os.environ, **offline, **quiet}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    [results] = output.rglob("results_*.json")
    metrics = json.loads(results.read_text())["results"]
    return {name: Logged(metrics[PREFIX + name], _samples(results.parent, name)) for name in names}


def _samples(directory: Path, name: str) -> list[dict[str, Any]]:
    [path] = directory.glob(f"samples_{PREFIX}{name}_2*.jsonl")
    with path.open(
        encoding="utf-8", newline="\n"
    ) as file:  # texts hold separators at which splitlines would cut
        lines = [json.loads(line) for line in file]
    return sorted(lines, key=lambda line: int(line["doc_id"]))
