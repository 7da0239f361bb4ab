import csv
from collections import Counter
from pathlib import Path

import lm_eval.tasks
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.workers.evaluation.examinee import ASSETS, SOURCE, values
from workers.context import BadInput
from workers.evaluation.harness import LocalTask, template
from workers.evaluation.mmlu import measure, questions
from workers.evaluation.sources import locate
from workers.specs.data import DataSource
from workers.specs.evaluate import Benchmark

MMLU = ASSETS / "eval" / "mmlu"
DEFINITIONS = Path(next(iter(lm_eval.tasks.__path__))) / "mmlu" / "default"


def write_csv(directory, subject, rows, split="test"):
    path = directory / split / f"{subject}_{split}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture
def published(tmp_path):
    for subject in ("anatomy", "world_history"):
        rows = [
            [f"which is the river {number}?", "red", "blue", "green", "town", "ABCD"[number % 4]]
            for number in range(5)
        ]
        write_csv(tmp_path, subject, rows)
        write_csv(tmp_path, subject, rows[:2], "dev")
    return DataSource(hub=str(tmp_path))


def test_rows_are_consistent(candidate):
    measurement = measure(Benchmark(task="mmlu", source=SOURCE), candidate)
    found = values(measurement.metrics)
    subjects = {name: value for (_, name), value in found.items() if name.startswith("subject.")}
    assert len(subjects) == 4
    assert found["mmlu", "macro"] == pytest.approx(sum(subjects.values()) / 4)
    right = sum(sample["score"] for sample in measurement.samples)
    assert found["mmlu", "accuracy"] == pytest.approx(right / len(measurement.samples))
    assert [row["metric"] for row in measurement.metrics if row["primary"]] == ["accuracy"]
    assert found["mmlu", "dropped"] == 0


def test_samples_name_the_choice(candidate):
    [sample, *_] = measure(Benchmark(task="mmlu", source=SOURCE, limit=4), candidate).samples
    assert sample["prompt"].startswith("Question: ")
    assert (sample["completion"] == sample["reference"]) == (sample["verdict"] == "right")
    assert not sample["generated"]


def test_a_limit_keeps_every_subject(candidate):
    measurement = measure(Benchmark(task="mmlu", source=SOURCE, limit=8), candidate)
    counts = {row["metric"]: row["n"] for row in measurement.metrics}
    assert counts["accuracy"] == 8
    assert [counts[name] for name in counts if name.startswith("subject.")] == [2, 2, 2, 2]


def test_shots_stand_before_the_question(candidate):
    [sample, *_] = measure(Benchmark(task="mmlu", source=SOURCE, limit=4, shots=2), candidate).samples
    assert sample["prompt"].count("Answer:") == 3


def test_too_many_shots(candidate):
    with pytest.raises(BadInput, match=r"6 shots wanted, but .* has 5 development questions"):
        measure(Benchmark(task="mmlu", source=SOURCE, shots=6), candidate)


def test_published_files_are_asked_by_letter(candidate, published):
    measurement = measure(Benchmark(task="mmlu", source=published, shots=2), candidate)
    assert values(measurement.metrics)["mmlu", "subject.world_history"] is not None
    sample = measurement.samples[-1]
    assert sample["prompt"].startswith(
        "The following are multiple choice questions (with answers) about world history"
    )
    assert sample["completion"] in "ABCD"
    assert sample["prompt"].count("Answer:") == 3


def test_changed_files_are_read_again(candidate, published, tmp_path):
    benchmark = Benchmark(task="mmlu", source=published)
    assert len(measure(benchmark, candidate).samples) == 10
    write_csv(tmp_path, "zoology", [["which is the animal?", "dog", "red", "blue", "green", "A"]])
    candidate.answers = type(candidate.answers)()
    assert len(measure(benchmark, candidate).samples) == 11


@pytest.mark.parametrize("row", [["question", "a", "b", "c", "A"], ["question", "a", "b", "c", "d", "E"]])
def test_malformed_rows_are_named(candidate, tmp_path, row):
    write_csv(tmp_path, "anatomy", [["question", "a", "b", "c", "d", "A"], row])
    with pytest.raises(BadInput, match=r"anatomy_test\.csv:2: needed"):
        measure(Benchmark(task="mmlu", source=DataSource(hub=str(tmp_path))), candidate)


@pytest.mark.parametrize(
    ("subject", "path"), [(path.stem[5:], path) for path in sorted(DEFINITIONS.glob("mmlu_*.yaml"))]
)
def test_letters_are_lm_evals_definition(candidate, subject, path):
    theirs = yaml.safe_load((DEFINITIONS / "_default_template_yaml").read_text())
    ours = template("mmlu_letters", task=subject, num_fewshot=0)
    for key in ("output_type", "doc_to_text", "doc_to_choice", "doc_to_target", "metric_list"):
        assert ours[key] == theirs[key]
    row = {"subject": subject, "question": "q", "choices": list("wxyz"), "answer": 0}
    [request, *_] = LocalTask(ours, [row]).requests()[0]
    assert request.args[0].startswith(yaml.safe_load(path.read_text())["description"])


def test_a_mirror_of_the_hubs_data_set(candidate, tmp_path):
    mirror = tmp_path / "mirror"
    (mirror / "all").mkdir(parents=True)
    row = {
        "question": "which is the river?",
        "subject": "anatomy",
        "choices": ["a", "b", "c", "d"],
        "answer": 2,
    }
    for split, count in (("test", 3), ("dev", 1)):
        pq.write_table(
            pa.Table.from_pylist([row] * count), mirror / "all" / f"{split}-00000-of-00001.parquet"
        )
    candidate.context.hub_map["cais/mmlu"] = str(mirror)
    measurement = measure(Benchmark(task="mmlu", source=DataSource(hub="cais/mmlu"), shots=1), candidate)
    assert [sample["reference"] for sample in measurement.samples] == ["C"] * 3


def test_a_data_set_that_is_nowhere_is_not_asked_of_the_network(candidate, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets, "load_dataset", None)
    with pytest.raises(BadInput, match=r"nobody/nothing' is not on this machine.*map the hub id"):
        measure(Benchmark(task="mmlu", source=DataSource(hub="nobody/nothing")), candidate)


@pytest.mark.skipif(not MMLU.is_dir(), reason="needs the assets folder beside the repository")
def test_the_published_test_set(candidate):
    candidate.context.hub_map["cais/mmlu"] = str(MMLU)
    convention, test, development = questions(locate(DataSource(hub="cais/mmlu"), candidate.context))
    assert convention == "mmlu_letters"
    assert (len(test), len(development)) == (14_042, 285)
    assert set(Counter(row["subject"] for row in development).values()) == {5}
    assert len({row["subject"] for row in test}) == 57
