import pytest

from tests.support.training import Lab, base_of
from tests.workers.ppo.lab import reward_of
from workers.context import Parent


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("ppo"))


@pytest.fixture(scope="session")
def base(lab: Lab) -> Parent:
    return base_of(lab)


@pytest.fixture(scope="session")
def reward(lab: Lab, base: Parent) -> Parent:
    return reward_of(lab, base)
