"""One default world for all tests of this folder, read back from its files."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workers.world import WorldRecipe, world_directory

Reader = Callable[[str], list[dict[str, Any]]]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl or .jsonl.gz file, read with the standard gzip module."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default world."""
    return world_directory(tmp_path_factory.mktemp("cache"), WorldRecipe())


@pytest.fixture(scope="session")
def read(world: Path) -> Reader:
    """Rows of a file of the default world by its path there."""
    return lambda name: read_rows(world / name)


@pytest.fixture(scope="session")
def tokenizer(world: Path) -> Any:
    """The tokenizer as transformers loads it."""
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(world / "tokenizer")
