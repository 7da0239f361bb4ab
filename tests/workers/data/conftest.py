from pathlib import Path

import pytest

from tests.support.training import SFT, WORLD, Lab, sft_recipe
from workers.context import StageContext
from workers.models.loading import read_tokenizer
from workers.world import world_directory


@pytest.fixture(scope="package")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="package")
def world(lab: Lab) -> Path:
    return world_directory(lab.workspace.cache, WORLD.world)


@pytest.fixture(scope="package")
def tokenizer(world):
    return read_tokenizer(world / "tokenizer")


@pytest.fixture(scope="package")
def context(lab: Lab) -> StageContext:
    return lab.context(lab.stage(SFT, sft_recipe()), ())


@pytest.fixture(scope="session")
def assets() -> Path:
    """Real data beside the repository; tests that need it are skipped where it is absent."""
    found = Path(__file__).resolve().parents[4] / "shared" / "assets"
    if not found.is_dir():
        pytest.skip("needs ../shared/assets, which is not part of the project")
    return found
