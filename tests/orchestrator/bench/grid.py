"""A small grid whose pipeline has a stage of most kinds."""

from pathlib import Path

from orchestrator.grid import load_grid
from orchestrator.plan import Plan, plan_grid

TEXT = """
# yates bench small.yaml
study: small
name: "{method}/{rank}/s{seed}"
factors: {method: [sft, dpo], rank: [2, 8], seed: [0, 1]}
blocks: {all: {product: {method: all, rank: all, seed: all}}}
world: {pretrain_rows: 200, validation_rows: 10, instruction_rows: 20, preference_rows: 60, preference_test_rows: 20,
        generation_rows: 8, reasoning_rows: 4}
source: {world: "${world}"}
pairs: {dataset: beavertails, source: "${source}", samples: 40, max_prompt_length: 32, max_length: 64}
adapter: {rank: "${rank}", dropout: 0.0, target_modules: [q_proj, v_proj]}
prompts: [{name: any, source: {world: "${world}", files: [toxic/test.jsonl]}, new_tokens: 8}]
machine: {device: cpu, micro_batch: 2}
training: {device: cpu, micro_batch: 2, strategy: single, processes: 1}
pipeline:
  pretrain:
    show: false
    recipe:
      seed: 0
      model: {shape: {hidden_size: 32, layers: 2}}
      tokenizer: "${source}"
      data: {source: "${source}", block: 48, packed: false}
      training: {steps: 500, batch_size: 8, validation_steps: 100}
    execution: "${machine}"
  reference:
    show: false
    when: method == "dpo"
    parents: {base: pretrain}
    recipe: {seed: 0, preferences: "${pairs}", batch_size: 8}
    execution: "${machine}"
  sft:
    when: method == "sft"
    parents: {base: pretrain}
    recipe: {adapter: "${adapter}", preferences: "${pairs}", max_length: 64, training: {steps: 300, batch_size: 4}}
    execution: "${training}"
  dpo:
    when: method == "dpo"
    parents: {base: pretrain, reference: reference}
    recipe: {adapter: "${adapter}", preferences: "${pairs}", training: {steps: 300, batch_size: 4}}
    execution: "${training}"
  evaluate:
    parents: {base: pretrain, trained: sft | dpo}
    recipe: {benchmarks: [{task: safety, source: "${source}", new_tokens: 8}], batch_size: 4, max_length: 64, step: 200}
    execution: "${machine}"
  answers:
    show: false
    kind: generate
    parents: {base: pretrain, trained: sft | dpo}
    recipe: {prompts: "${prompts}", batch_size: 4, max_length: 64}
    execution: "${machine}"
  quality:
    kind: judge
    parents: {generations: answers}
    recipe: {task: any, shape: verdict, judge: {endpoint: {model: someone}}}
"""


def write(folder: Path) -> Path:
    """The grid as a file."""
    path = folder / "small.yaml"
    path.write_text(TEXT.lstrip())
    return path


def small_plan(folder: Path, *overrides: str) -> Plan:
    """Its plan."""
    return plan_grid(load_grid(write(folder), overrides=list(overrides)))
