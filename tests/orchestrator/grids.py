"""Grids for tests, written to a directory."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from orchestrator.plan import Plan

SMALL = """\
study: small
name: "{model}/{method}/s{seed}"
factors:
  model: [one, two]
  method: [sft, dpo]
  seed: [0, 1]
levels:
  model:
    one: {layers: 1}
    two: {layers: 2}
  method:
    sft: {rate: 1e-3}
    dpo: {rate: "${rates.dpo}"}
rates: {dpo: 5e-4}
blocks:
  all:
    product: [model, method, seed]
pipeline:
  pretrain:
    show: false
    recipe:
      seed: 0
      model: {shape: {layers: "${model.layers}"}}
  train:
    kind: sft
    parents: {base: pretrain}
    recipe:
      preferences: {samples: 64}
      training: {steps: 20, learning_rate: "${method.rate}"}
    resources: {cpus: 1}
  evaluate:
    parents: {base: pretrain, trained: train}
    recipe:
      benchmarks: [{task: mmlu}]
"""


def write(directory: Path, text: str = SMALL, name: str = "grid.yaml") -> Path:
    path = directory / name
    path.write_text(dedent(text))
    return path


def replaced(old: str, new: str, text: str = SMALL) -> str:
    assert old in text
    return text.replace(old, new)


def costing(plan: Plan, seconds: Mapping[str, float]) -> Plan:
    """`plan` with expected seconds by kind and name in the pipeline, such as `sft/train`."""
    for stage in plan.stages:
        stage.cost = seconds[f"{stage.kind.name}/{stage.name}"]
    return plan


def many(factors: dict[str, list[object]]) -> str:
    """A grid whose experiments are the product of `factors`, with two stages of their own each.

    `rate` and `decay` reach the training, `cell` its number of samples, `seed` the seed.
    """
    listed = "\n".join(f"  {name}: {levels}" for name, levels in factors.items())
    settings = {"rate": "learning_rate", "decay": "weight_decay"}
    training = ", ".join(f'{key}: "${{{name}}}"' for name, key in settings.items() if name in factors)
    samples = '"${cell}"' if "cell" in factors else "64"
    return f"""\
study: many
factors:
{listed}
blocks:
  all:
    product: [{", ".join(factors)}]
pipeline:
  pretrain:
    show: false
    recipe: {{seed: 0}}
  train:
    kind: sft
    parents: {{base: pretrain}}
    recipe:
      adapter: {{rank: 8}}
      preferences: {{source: {{world: {{}}}}, samples: {samples}}}
      training: {{steps: 20, {training}}}
  evaluate:
    parents: {{base: pretrain, trained: train}}
    recipe:
      seed: 0
      benchmarks: [{{task: mmlu, source: {{world: {{}}}}}}]
"""
