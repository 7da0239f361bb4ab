"""How tests are divided among processes (`pytest -n 2`): a group runs in one process, the long ones first."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

CLUSTERS = ("tests/cluster/slurm", "tests/cluster/ray")
"""Each has daemons that are started once and disturbed by its tests, and waits more than it computes."""


def group(node: str) -> str:
    """A cluster's folder, or the file, whose fixtures are then made once."""
    path = node.partition("::")[0]
    folder = str(PurePosixPath(path).parent)
    return folder if folder in CLUSTERS else path


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the clusters first, so that none is left to the end."""
    items.sort(key=lambda item: group(item.nodeid) not in CLUSTERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadScopeScheduling":
    """Hand out whole groups; xdist's own `loadgroup` loses its marks with this version of pytest."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return Groups(config, log)
