import pytest

from tests.support.training import Lab, base_of, reference_of
from workers.context import Parent


@pytest.fixture(scope="package")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="package")
def base(lab: Lab) -> Parent:
    return base_of(lab)


@pytest.fixture(scope="package")
def reference(lab: Lab, base: Parent) -> Parent:
    return reference_of(lab, base)
