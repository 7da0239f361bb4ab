import os
from collections.abc import Iterator

import pytest

from results.layout import Workspace
from tests.orchestrator.lab import Lab


@pytest.fixture(autouse=True, scope="module")
def environment() -> Iterator[None]:
    """A bench makes its process a worker, which never downloads: what it says of that in the environment stays here."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def lab(tmp_path) -> Lab:
    """A workspace with the plan of `tests.orchestrator.lab` and one live worker; nothing has run."""
    return Lab(Workspace(tmp_path / "runs"))
