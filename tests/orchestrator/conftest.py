import pytest

from results.layout import Workspace
from tests.orchestrator.lab import Lab


@pytest.fixture
def lab(tmp_path) -> Lab:
    """A workspace with the plan of `tests.orchestrator.lab` and one live worker; nothing has run."""
    return Lab(Workspace(tmp_path / "runs"))
