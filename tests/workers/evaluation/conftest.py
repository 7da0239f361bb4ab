from pathlib import Path

import pytest
import torch

from tests.workers.evaluation.examinee import make_candidate, write_model
from workers.evaluation.candidate import Candidate


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="session")
def model_directory(root) -> Path:
    return write_model(root / "model", root / "cache")


@pytest.fixture(scope="session")
def loaded(model_directory):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(model_directory)).eval()
    return model, AutoTokenizer.from_pretrained(str(model_directory))


@pytest.fixture
def candidate(root, model_directory, loaded) -> Candidate:
    return make_candidate(root, model_directory, loaded)
