import pytest

from tests.gpu.place import SMOLLM2, Place
from tests.support.smollm import smollm2
from tests.support.training import Lab

PLACES = [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(scope="package", params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """SmolLM2-135M (YATES_SMOLLM2) on the GPU, or small models on the CPU; skipped where there is no GPU."""
    lab = Lab(tmp_path_factory.mktemp("workspace"))
    if request.param == "cpu":
        return Place(lab, "cpu")
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: torch.cuda finds none")
    return Place(lab, "cuda", smollm2(), SMOLLM2)
