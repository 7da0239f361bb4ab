"""Ray clusters for tests: where Ray's job submission is missing the tests are skipped, and say so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ray import RayCluster, RayStudy, ray_cluster

pytest.importorskip("aiohttp_cors", reason="Ray's job submission is missing: pip install 'yates[ray]'")


@pytest.fixture(scope="package")
def running_cluster() -> Iterator[RayCluster]:
    """A head and two nodes of two processors."""
    with ray_cluster() as running:
        yield running


@pytest.fixture
def cluster(running_cluster: RayCluster) -> RayCluster:
    """The cluster; a test that kills a part of it puts another in its place."""
    return running_cluster


@pytest.fixture
def study(cluster: RayCluster, tmp_path: Path) -> RayStudy:
    """Eight experiments of four short steps."""
    return RayStudy(tmp_path / "study", cluster)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int, int], Path]:
    """Stores of grids that ran on this machine alone, by their sizes: made when first asked for."""
    return {}
