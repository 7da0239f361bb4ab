import json

import pytest

from tests.workers.evaluation.examinee import ASSETS, SOURCE, WORLD, values
from workers.context import BadInput
from workers.evaluation.bbh import measure, problems
from workers.evaluation.sources import locate
from workers.specs.data import DataSource
from workers.specs.evaluate import Benchmark

BBH = ASSETS / "eval" / "bbh"


def write_task(directory, name, examples):
    (directory / f"{name}.json").write_text(json.dumps({"canary": "none", "examples": examples}))


def test_rows_are_consistent(candidate):
    measurement = measure(Benchmark(task="bbh", source=SOURCE, new_tokens=4), candidate)
    found = values(measurement.metrics)
    tasks = [value for (_, name), value in found.items() if name.startswith("task.")]
    assert len(tasks) == 4
    assert found["bbh", "macro"] == pytest.approx(sum(tasks) / 4)
    assert found["bbh", "starts_with"] >= found["bbh", "exact_match"]
    assert len(measurement.samples) == 4 * WORLD.reasoning_rows
    assert all(sample["generated"] for sample in measurement.samples)
    assert [row["metric"] for row in measurement.metrics if row["primary"]] == ["exact_match"]


def say(candidate, monkeypatch, texts):
    """Let the model complete each prompt as told, in order."""
    from workers.evaluation.generation import Completion

    asked: list[tuple[int, tuple[str, ...]]] = []

    def complete(prompts, new_tokens, until=()):
        asked.append((new_tokens, until))
        return [Completion(text, (), True) for _, text in zip(prompts, texts, strict=True)]

    monkeypatch.setattr(candidate, "complete", complete)
    return asked


def test_white_space_does_not_count_but_words_do(candidate, monkeypatch, tmp_path):
    write_task(tmp_path, "navigate", [{"input": "is it so?", "target": "Yes"} for _ in range(4)])
    asked = say(candidate, monkeypatch, [" Yes\n", "Yes.", "yes", ""])
    source = DataSource(hub=str(tmp_path))
    measurement = measure(Benchmark(task="bbh", source=source, new_tokens=7), candidate)
    found = values(measurement.metrics)
    assert found["bbh", "exact_match"] == 0.25
    assert found["bbh", "starts_with"] == 0.5
    assert asked == [(7, ("</s>", "Q", "\n\n"))]


def test_published_tasks_have_lm_evals_description_and_examples(candidate, tmp_path):
    write_task(tmp_path, "boolean_expressions", [{"input": "not True is", "target": "False"}])
    source = DataSource(hub=str(tmp_path))
    for shots in (0, 3):
        candidate.answers = type(candidate.answers)()
        candidate.__dict__["max_length"] = 1000
        prompt = measure(Benchmark(task="bbh", source=source, shots=shots), candidate).samples[0]["prompt"]
        assert prompt.startswith("Evaluate the result of a random Boolean expression.\n\nQ: ")
        assert prompt.endswith("Q: not True is\nA:")
        assert prompt.count("Q: ") == shots + 1


def test_examples_of_json_lines_are_not_asked(candidate):
    benchmark = Benchmark(task="bbh", source=SOURCE, shots=2, new_tokens=2)
    measurement = measure(benchmark, candidate)
    assert len(measurement.samples) == 4 * (WORLD.reasoning_rows - 2)
    assert all(sample["prompt"].count("Answer:") == 3 for sample in measurement.samples)


@pytest.mark.parametrize(("shots", "message"), [(4, "4 shots wanted, but .* has 3 examples")])
def test_too_many_shots_of_a_published_task(candidate, tmp_path, shots, message):
    write_task(tmp_path, "boolean_expressions", [{"input": "not True is", "target": "False"}])
    with pytest.raises(BadInput, match=message):
        measure(Benchmark(task="bbh", source=DataSource(hub=str(tmp_path)), shots=shots), candidate)


def test_shots_that_leave_nothing(candidate):
    with pytest.raises(BadInput, match="6 shots leave nothing"):
        measure(Benchmark(task="bbh", source=SOURCE, shots=6), candidate)


def test_an_unknown_task_gets_the_nearest_name(candidate, tmp_path):
    write_task(tmp_path, "navigatte", [{"input": "a", "target": "b"}])
    with pytest.raises(BadInput, match="did you mean 'navigate'"):
        measure(Benchmark(task="bbh", source=DataSource(hub=str(tmp_path))), candidate)


def test_malformed_files_are_named(candidate, tmp_path):
    (tmp_path / "navigate.json").write_text("[]")
    with pytest.raises(BadInput, match=r"navigate\.json: needed"):
        measure(Benchmark(task="bbh", source=DataSource(hub=str(tmp_path))), candidate)


def test_a_target_that_is_no_text(candidate, tmp_path):
    write_task(tmp_path, "navigate", [{"input": "a", "target": 3}])
    with pytest.raises(BadInput, match="row 1 has no usable 'target'"):
        measure(Benchmark(task="bbh", source=DataSource(hub=str(tmp_path))), candidate)


@pytest.mark.skipif(not BBH.is_dir(), reason="needs the assets folder beside the repository")
def test_the_published_files(candidate):
    candidate.context.hub_map["SaylorTwift/bbh"] = str(BBH)
    published, rows = problems(locate(DataSource(hub="SaylorTwift/bbh"), candidate.context))
    assert published
    assert len(rows) == 6_511
    assert len({row["task"] for row in rows}) == 27
