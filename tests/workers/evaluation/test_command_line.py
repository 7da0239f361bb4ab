"""Our figures against those of lm-eval's command line on the same task files, item by item.

    python -m pytest tests/workers/evaluation/test_command_line.py -m slow -s

Of BBH with a small model hardly anything is right, so its answers are compared word for word too.
"""

from pathlib import Path

import pytest
import torch

from tests.support.smollm import smollm2
from tests.workers.evaluation.command_line import Logged, lm_eval, write_bbh, write_mmlu
from tests.workers.evaluation.examinee import ASSETS, make_candidate
from workers.evaluation import bbh, mmlu
from workers.evaluation.candidate import Candidate
from workers.evaluation.harness import Harness
from workers.evaluation.sources import locate
from workers.specs.data import DataSource
from workers.specs.evaluate import Benchmark

STORIES = ASSETS / "models" / "stories260K-hf"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not STORIES.is_dir(), reason="needs the assets folder beside the repository"),
]
BATCH = 4
"""Both sides; the logits of a long prompt over 49,152 words are large."""


def examined(root: Path, directory: Path, max_length: int) -> Candidate:
    """A candidate for the model of a directory, which finds the published data."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    found = make_candidate(root, directory, (model, tokenizer), max_length=max_length, batch_size=BATCH)
    data = {name: str(ASSETS / "eval" / folder) for name, folder in (("mmlu", "mmlu"), ("bbh", "bbh"))}
    found.context.hub_map |= data
    return found


def questions(task: str, limit: int | None, shots: int) -> Benchmark:
    return Benchmark(task=task, source=DataSource(hub=task), limit=limit, shots=shots, new_tokens=16)


def evaluated(candidate: Candidate, benchmark: Benchmark) -> tuple[Harness, dict[str, dict[str, float]]]:
    """The benchmark's tasks with their items, and the metrics of each task."""
    module = {"mmlu": mmlu, "bbh": bbh}[benchmark.task]
    candidate.answers = type(candidate.answers)()
    harness = module._prepare(locate(benchmark.source, candidate.context), benchmark, candidate)
    return harness, harness.evaluate(candidate)


def compare_metrics(found: dict[str, dict[str, float]], logged: dict[str, Logged], metric: str) -> None:
    """A metric of every task, to the last bit."""
    expected = {name: logged[name].metrics[metric] for name in found}
    assert {name: figures[metric] for name, figures in found.items()} == expected


def compare_choices(harness: Harness, logged: dict[str, Logged]) -> float:
    """The score of every item; the largest difference of a choice's log-likelihood, in nats."""
    largest = 0.0
    for name, task in harness.tasks.items():
        for item, sample in zip(task.items, logged[name].samples, strict=True):
            assert item.scores["acc"] == sample["acc"]
            expected = [float(answer[0][0]) for answer in sample["resps"]]
            found = [value for value, _ in item.results]
            largest = max(largest, *(abs(one - other) for one, other in zip(found, expected, strict=True)))
    return largest


def compare_answers(harness: Harness, logged: dict[str, Logged]) -> None:
    """Every answer as it is scored."""
    for name, task in harness.tasks.items():
        answers = [sample["filtered_resps"][0] for sample in logged[name].samples]
        assert [item.results[0] for item in task.items] == answers


def compare(candidate: Candidate, benchmarks: list[Benchmark], directory: Path, scratch: Path) -> None:
    """Evaluate both, write what fits as task files, and ask lm-eval."""
    (choices, accuracies), (answers, matches) = (evaluated(candidate, each) for each in benchmarks)
    tasks = scratch / "tasks"
    tasks.mkdir()
    write_mmlu(tasks, choices.tasks, benchmarks[0])
    write_bbh(tasks, answers.tasks, benchmarks[1])
    logged = lm_eval(directory, tasks, scratch / "output", BATCH, candidate.max_length)
    largest = compare_choices(choices, logged)
    compare_answers(answers, logged)
    compare_metrics(accuracies, logged, "acc,none")
    compare_metrics(matches, logged, "exact_match,none")
    share = sum(item.scores["acc"] for item in choices.items) / len(choices.items)
    exact = sum(item.scores["exact_match"] for item in answers.items) / len(answers.items)
    print(
        f"\n{directory.name}: mmlu {len(choices.items)} items (dropped {choices.dropped}), accuracy {share:.4f}, "
        f"log-likelihoods within {largest:.1e} nats; bbh {len(answers.items)} items (dropped {answers.dropped}), "
        f"exact match {exact:.4f}; all as lm-eval's"
    )
    assert largest < 1e-4


def test_every_item_that_fits_a_small_context(root: Path, tmp_path: Path) -> None:
    candidate = examined(root, STORIES, 512)
    benchmarks = [questions("mmlu", None, 0), questions("bbh", None, 0)]
    compare(candidate, benchmarks, STORIES, tmp_path)


def test_items_with_examples(root: Path, tmp_path: Path) -> None:
    """A real model of 135 million parameters; the examples of a subject are read once here, each time there."""
    directory = smollm2()
    candidate = examined(root, directory, 2048)
    benchmarks = [questions("mmlu", 500, 2), questions("bbh", 100, 1)]
    compare(candidate, benchmarks, directory, tmp_path)
