"""A real model with a byte-pair tokenizer on published questions, against lm-eval's own HFLM."""

import pytest
import torch

from tests.workers.evaluation.examinee import ASSETS, make_candidate
from workers.evaluation.bbh import measure as measure_bbh
from workers.evaluation.mmlu import measure as measure_mmlu
from workers.specs.data import DataSource
from workers.specs.evaluate import Benchmark

MODEL = ASSETS / "models" / "stories260K-hf"
pytestmark = pytest.mark.skipif(not MODEL.is_dir(), reason="needs the assets folder beside the repository")


@pytest.fixture(scope="module")
def stories():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(str(MODEL), dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(str(MODEL))


@pytest.fixture
def candidate(root, stories):
    found = make_candidate(root, MODEL, stories, max_length=512, batch_size=16)
    found.context.hub_map |= {
        "cais/mmlu": str(ASSETS / "eval" / "mmlu"),
        "SaylorTwift/bbh": str(ASSETS / "eval" / "bbh"),
    }
    return found


@pytest.fixture(scope="module")
def plain(stories):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=stories[0], tokenizer=stories[1], batch_size=16, max_length=512)


def requests(kind, arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, each, 0) for each in arguments]


def test_letters_are_scored_as_lm_eval_scores_them(candidate, plain):
    benchmark = Benchmark(task="mmlu", source=DataSource(hub="cais/mmlu"), limit=40)
    measurement = measure_mmlu(benchmark, candidate)
    counts = {row["metric"]: (row["value"], row["n"]) for row in measurement.metrics}
    assert counts["accuracy"][1] + counts["dropped"][0] == 40
    assert counts["dropped"][0] > 0
    for sample in measurement.samples[:12]:
        pairs = [(sample["prompt"], f" {letter}") for letter in "ABCD"]
        expected = [
            value for value, _ in plain.loglikelihood(requests("loglikelihood", pairs), disable_tqdm=True)
        ]
        assert sample["completion"] == "ABCD"[max(range(4), key=expected.__getitem__)]


def test_answers_are_generated_as_lm_eval_generates_them(candidate, plain):
    benchmark = Benchmark(task="bbh", source=DataSource(hub="SaylorTwift/bbh"), limit=20, new_tokens=6)
    samples = measure_bbh(benchmark, candidate).samples
    settings = {"until": ["</s>", "Q", "\n\n"], "do_sample": False, "max_gen_toks": 6}
    asked = requests("generate_until", [(sample["prompt"], settings) for sample in samples])
    expected = plain.generate_until(asked, disable_tqdm=True)
    assert [sample["completion"] for sample in samples] == [text.strip() for text in expected]
