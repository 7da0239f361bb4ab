"""How tests are divided among processes (`pytest -n 2`): a group runs in one process, the long ones first."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent
CLUSTERS = ("cluster/slurm", "cluster/ray")
"""Each has daemons that are started once and disturbed by its tests, and waits more than it computes."""


def group(path: Path) -> str:
    """A cluster's folder, or the file, whose fixtures are then made once."""
    name = str(path.relative_to(ROOT))
    return next((folder for folder in CLUSTERS if name.startswith(f"{folder}/")), name)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the clusters first, so that none is left to the end, and say what belongs together."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item.path)))
    items.sort(key=lambda item: group(item.path) not in CLUSTERS)
