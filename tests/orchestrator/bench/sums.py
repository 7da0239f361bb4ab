"""A grid of toy stages: two that several processes compute together, and what stands on them."""

from pathlib import Path

TEXT = """
# yates bench sums.yaml
study: sums
name: "{seed}"
factors: {seed: [0]}
blocks: {all: {product: {seed: all}}}
team: {device: cpu, strategy: ddp, processes: 2}
sum: {steps: 4, pause: 0.0, fault: ""}
pipeline:
  sum:
    kind: tests.support.sums:SUM
    recipe: "${sum}"
    execution: "${team}"
  after:
    kind: tests.support.toys:TOY
    parents: {parent: sum}
  alone:
    kind: tests.support.toys:TOY
    recipe: {steps: 2}
"""


def write(folder: Path) -> Path:
    """The grid as a file."""
    path = folder / "sums.yaml"
    path.write_text(TEXT.lstrip())
    return path
