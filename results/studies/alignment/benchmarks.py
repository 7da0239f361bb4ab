"""The study's benchmarks: under which task the store keeps each, and what stands in for one that is absent."""

from collections.abc import Collection
from functools import cache
from pathlib import Path

from results.studies.benchmarks import Benchmark, Measured, as_measured
from results.studies.settings import read_settings

FILE = Path(__file__).with_name("benchmarks.yaml")


@cache
def benchmarks() -> dict[str, Benchmark]:
    """All benchmarks by name, in the order of the tables."""
    return read_settings(FILE, dict[str, Benchmark])


def measured(name: str, tasks: Collection[str]) -> Measured:
    """The benchmark `name` as a store with these `tasks` has it."""
    return as_measured(name, benchmarks()[name], tasks)
