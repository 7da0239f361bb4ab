"""MMLU with and without examples: our throughput against lm-eval's, on one model in one process, in turns.

    python -m pytest tests/benchmarks/test_evaluation.py -m benchmark -s

lm-eval asks once for each question already; with examples the gain is that those of a subject are read once. Both
sides build their prompts, tokenize and score; same items, same batch size, one thread, float32. Seconds are those of
the processor, which on a machine of one's own are those of the clock; ratios of both are printed.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.smollm import smollm2
from tests.workers.evaluation.examinee import ASSETS, make_candidate
from workers.evaluation.candidate import Candidate
from workers.evaluation.harness import LocalTask, Rows, prepare, template
from workers.evaluation.mmlu import questions
from workers.evaluation.sources import Row, locate
from workers.specs.data import DataSource

MMLU = ASSETS / "eval" / "mmlu"
SUBJECTS = ("high_school_geography", "sociology")
QUESTIONS = 16
"""Of each subject, which has more than a hundred: the fewer share the examples, the less is gained."""
BATCH = 16
BARS = {5: 3.0, 0: 1.0}
SAMPLES = {5: 3, 0: 5}
NOISE = 0.05
"""What the median ratio of equal work may miss 1 by on a shared machine."""

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not MMLU.is_dir(), reason="needs the assets folder beside the repository"),
]
Accuracies = dict[str, float]
Tasks = dict[str, tuple[dict[str, Any], list[Row], list[Row]]]


@pytest.fixture(scope="module")
def directory() -> Path:
    return smollm2()


@pytest.fixture(scope="module")
def candidate(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=torch.float32).eval()
    loaded = (model, AutoTokenizer.from_pretrained(str(directory)))
    root = tmp_path_factory.mktemp("evaluation")
    return make_candidate(root, directory, loaded, max_length=2048, batch_size=BATCH)


def items(candidate: Candidate, shots: int) -> Tasks:
    """Task to its configuration, its questions and its examples."""
    _, test, development = questions(locate(DataSource(hub=str(MMLU)), candidate.context))
    return {
        subject: (
            template("mmlu_letters", task=subject, num_fewshot=shots),
            [row for row in test if row["subject"] == subject][:QUESTIONS],
            [row for row in development if row["subject"] == subject][:shots],
        )
        for subject in SUBJECTS
    }


def by_lm_eval(candidate: Candidate, tasks: Tasks) -> Accuracies:
    from lm_eval import evaluator
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=candidate.model, tokenizer=candidate.tokenizer, batch_size=BATCH, max_length=2048)
    made = {}
    for subject, (config, rows, examples) in tasks.items():
        splits = {"test": Rows(rows), "shots": Rows(examples)}
        few = {"fewshot_config": {"sampler": "first_n", "split": "shots"}} if examples else {}
        data = {"test_split": "test", "custom_dataset": lambda splits=splits: splits}
        made[subject] = ConfigurableTask(config={**config, **few, **data})
    found = evaluator.evaluate(model, {"tasks": made}, bootstrap_iters=0, log_samples=False)["results"]
    return {subject: found[subject]["acc,none"] for subject in tasks}


def by_yates(candidate: Candidate, tasks: Tasks) -> Accuracies:
    candidate.answers = type(candidate.answers)()
    harness = prepare({subject: LocalTask(*each) for subject, each in tasks.items()}, candidate, 0)
    found = harness.evaluate(candidate)
    return {subject: found[subject]["acc,none"] for subject in tasks}


def timed(
    run: Callable[[Candidate, Tasks], Accuracies], candidate: Candidate, tasks: Tasks
) -> tuple[float, float, Accuracies]:
    """Processor seconds, seconds by the clock, and what was found."""
    began, started = time.process_time(), time.perf_counter()
    found = run(candidate, tasks)
    return time.process_time() - began, time.perf_counter() - started, found


def listed(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} times (each: {', '.join(f'{ratio:.2f}' for ratio in ratios)})"


@pytest.mark.parametrize("shots", [5, 0])
def test_questions_per_second(candidate: Candidate, shots: int) -> None:
    tasks = items(candidate, shots)
    count = sum(len(rows) for _, rows, _ in tasks.values())
    ratios, by_clock, rates = [], [], []
    for _ in range(SAMPLES[shots]):
        theirs, their_clock, expected = timed(by_lm_eval, candidate, tasks)
        ours, our_clock, found = timed(by_yates, candidate, tasks)
        assert found == expected
        ratios.append(theirs / ours)
        by_clock.append(their_clock / our_clock)
        rates.append((count / theirs, count / ours))
        print(f"\n{shots} shots: lm-eval {theirs:.1f} s, yates {ours:.1f} s", flush=True)
    plain, shared = (statistics.median(column) for column in zip(*rates, strict=True))
    print(
        f"mmlu, {shots} shots, {count} questions: lm-eval {plain:.2f}, yates {shared:.2f} questions a processor "
        f"second; {listed(ratios)}, by the clock {listed(by_clock)}; same accuracy"
    )
    assert statistics.median(ratios) >= BARS[shots] - (NOISE if shots == 0 else 0)
