"""The study's benchmarks: under which task the store keeps each."""

from functools import cache
from pathlib import Path

from results.studies.benchmarks import Benchmark
from results.studies.settings import read_settings

FILE = Path(__file__).with_name("benchmarks.yaml")


@cache
def benchmarks() -> dict[str, Benchmark]:
    """All benchmarks by name."""
    return read_settings(FILE, dict[str, Benchmark])
