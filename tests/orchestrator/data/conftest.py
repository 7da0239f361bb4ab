import json
import lzma
from pathlib import Path

import pytest

from tests.orchestrator.cli.conftest import yates  # noqa: F401
from tests.orchestrator.data.grids import HUB
from tests.orchestrator.grids import write


def pair(number: int) -> dict[str, object]:
    return {
        "prompt": f"why {number}?",
        "response_0": "a secret",
        "response_1": "no",
        "is_response_0_safe": True,
        "is_response_1_safe": False,
        "better_response_id": number % 2,
    }


def lines(*rows: dict[str, object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(scope="session")
def pairs() -> dict[str, bytes]:
    """A repository of preference pairs: twenty rows to train on and four to test."""
    return {
        "round0/train.jsonl.xz": lzma.compress(lines(*map(pair, range(20)))),
        "round0/test.jsonl.xz": lzma.compress(lines(*map(pair, range(20, 24)))),
        "README.md": b"pairs",
        "picture.png": b"png",
    }


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    return write(tmp_path, HUB)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"
