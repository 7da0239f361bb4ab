"""Against lm-eval's own HFLM on the same task files."""

import pytest
from lm_eval import evaluator
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

from tests.workers.evaluation.examinee import WORLD
from tests.workers.evaluation.test_prefix_cache import Passes
from workers.data.rows import read_rows
from workers.evaluation.harness import HarnessModel, LocalTask, Rows, prepare, template
from workers.world import world_directory


@pytest.fixture(scope="module")
def directory(root):
    return world_directory(root / "cache", WORLD)


@pytest.fixture(scope="module")
def plain(loaded):
    model, tokenizer = loaded
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=5, max_length=128)


def of_lm_eval(config, rows, shots=()):
    """lm-eval's unchanged task on the same rows."""
    splits = {"test": Rows(rows), "shots": Rows(shots)}
    if shots:
        config = {**config, "fewshot_config": {"sampler": "first_n", "split": "shots"}}
    return ConfigurableTask(config={**config, "test_split": "test", "custom_dataset": lambda: splits})


def both(config, rows, shots, candidate, plain, *, new_tokens=0):
    """lm-eval's figures by HFLM, ours, and our task."""
    tasks = {"tasks": {"task": of_lm_eval(config, rows, shots)}}
    expected = evaluator.evaluate(plain, tasks, bootstrap_iters=0, log_samples=True)
    harness = prepare({"task": LocalTask(config, rows, shots)}, candidate, new_tokens)
    found = harness.evaluate(candidate)
    return expected, found, harness


def same_log_probabilities(expected, harness):
    """Log-likelihood and greediness of every request."""
    for sample, item in zip(expected["samples"]["task"], harness.items, strict=True):
        answers = [answer[0] for answer in sample["resps"]]
        assert [list(pair) for pair in sample["arguments"]] == [list(pair) for pair in item.requests]
        assert [value for value, _ in item.results] == pytest.approx(
            [value for value, _ in answers], abs=1e-4
        )
        assert [greedy for _, greedy in item.results] == [greedy for _, greedy in answers]


@pytest.mark.parametrize("shots", [0, 2])
def test_cloze_equals_lm_eval(directory, candidate, plain, shots):
    rows = list(read_rows(directory / "mmlu/test.jsonl"))[:30]
    examples = list(read_rows(directory / "mmlu/dev.jsonl"))[:shots]
    config = template("mmlu_cloze", task="task", num_fewshot=shots)
    expected, found, harness = both(config, rows, examples, candidate, plain)
    assert found["task"]["acc,none"] == expected["results"]["task"]["acc,none"]
    same_log_probabilities(expected, harness)


def test_examples_that_are_read_once_equal_lm_eval(directory, candidate, plain):
    rows = list(read_rows(directory / "mmlu/test.jsonl"))[:24]
    examples = list(read_rows(directory / "mmlu/dev.jsonl"))[:4]
    config = template("mmlu_cloze", task="task", num_fewshot=4)
    with Passes(candidate.model) as passes:
        harness = prepare({"task": LocalTask(config, rows, examples)}, candidate, 0)
        harness.evaluate(candidate)
    assert passes.shapes[0][0] == 1
    assert passes.shapes[0][1] > 32
    assert max(tokens for _, tokens in passes.shapes[1:]) < 32
    candidate.answers = type(candidate.answers)()
    expected, found, harness = both(config, rows, examples, candidate, plain)
    assert found["task"]["acc,none"] == expected["results"]["task"]["acc,none"]
    same_log_probabilities(expected, harness)


def test_letters_equal_lm_eval(directory, candidate, plain):
    rows = [{**row, "subject": "a_subject"} for row in list(read_rows(directory / "mmlu/test.jsonl"))[:12]]
    config = template("mmlu_letters", task="task", num_fewshot=1)
    expected, found, harness = both(config, rows, rows[:1], candidate, plain)
    assert found["task"]["acc,none"] == expected["results"]["task"]["acc,none"]
    same_log_probabilities(expected, harness)
    prompt = harness.items[0].requests[0][0]
    assert prompt.startswith(
        "The following are multiple choice questions (with answers) about a subject.\n\n"
    )
    assert [continuation for _, continuation in harness.items[0].requests] == [" A", " B", " C", " D"]


@pytest.mark.parametrize("name", ["bbh_question", "bbh_direct"])
def test_generation_equals_lm_eval(directory, candidate, plain, name):
    rows = list(read_rows(directory / "bbh/test.jsonl"))[:12]
    config = template(name, task="task", num_fewshot=0)
    config["generation_kwargs"]["max_gen_toks"] = 5
    expected, found, harness = both(config, rows, (), candidate, plain, new_tokens=5)
    assert found["task"]["exact_match,none"] == expected["results"]["task"]["exact_match,none"]
    answers = [sample["filtered_resps"][0] for sample in expected["samples"]["task"]]
    assert [item.results[0] for item in harness.items] == answers


@pytest.mark.parametrize("max_length", [128, 8])
def test_rolling_equals_lm_eval(directory, candidate, loaded, max_length):
    model, tokenizer = loaded
    plain = HFLM(
        pretrained=model, tokenizer=tokenizer, batch_size=5, max_length=max_length, add_bos_token=False
    )
    candidate.__dict__["max_length"] = max_length
    rows = list(read_rows(directory / "pretrain/validation.jsonl"))[:8]
    config = template("perplexity", task="task")
    config["metric_list"].append({"metric": "word_perplexity", "aggregation": "weighted_perplexity"})
    expected, found, harness = both(config, rows, (), candidate, plain)
    for figure in ("word_perplexity,none", "bits_per_byte,none"):
        assert found["task"][figure] == pytest.approx(expected["results"]["task"][figure], rel=1e-5)
    answers = [sample["resps"][0][0] for sample in expected["samples"]["task"]]
    assert [item.results[0] for item in harness.items] == pytest.approx(answers, abs=1e-4)


@pytest.mark.parametrize(
    ("context", "continuation"),
    [
        ("which is the river?", " the town"),
        ("which is the river?  ", "the town"),
        ("<s> which is", " a river"),
        ("", "the town"),
        ("", "<s> the town"),
    ],
)
def test_pairs_are_split_as_lm_eval_splits_them(candidate, plain, context, continuation):
    ours = HarnessModel(candidate, {})
    instance = Instance("loglikelihood", {}, (context, continuation), 0)
    [(value, greedy)] = ours.loglikelihood([instance])
    [(expected, expected_greedy)] = plain.loglikelihood([instance], disable_tqdm=True)
    assert value == pytest.approx(expected, abs=1e-4)
    assert greedy == expected_greedy


def test_a_task_can_be_evaluated_again(directory, candidate):
    rows = list(read_rows(directory / "mmlu/test.jsonl"))[:6]
    config = template("mmlu_cloze", task="task", num_fewshot=0)
    harness = prepare({"task": LocalTask(config, rows)}, candidate, 0)
    first = (harness.evaluate(candidate), harness.items)
    candidate.answers = type(candidate.answers)()
    assert (harness.evaluate(candidate), harness.items) == first


def test_rows_that_do_not_fit_are_left_out(directory, candidate):
    rows = list(read_rows(directory / "mmlu/test.jsonl"))[:6]
    config = template("mmlu_cloze", task="task", num_fewshot=0)
    long = {**rows[0], "question": "which " * 200}
    harness = prepare({"task": LocalTask(config, [rows[0], long, *rows[1:]])}, candidate, 0)
    assert harness.dropped == 1
    harness.evaluate(candidate)
    assert [item.row for item in harness.items] == rows


def test_a_row_fits_to_the_last_token(directory, candidate):
    [row] = list(read_rows(directory / "mmlu/test.jsonl"))[:1]
    task = LocalTask(template("mmlu_cloze", task="task", num_fewshot=0), [row])
    harness = prepare({"task": task}, candidate, 0)
    needed = max(len(context) + len(continuation) - 1 for context, continuation in harness.encoded.values())
    for length, dropped in ((needed, 0), (needed - 1, 1)):
        candidate.__dict__["max_length"] = length
        again = LocalTask(template("mmlu_cloze", task="task", num_fewshot=0), [row])
        assert prepare({"task": again}, candidate, 0).dropped == dropped


def test_nothing_left_evaluates_to_nothing(directory, candidate):
    [row] = list(read_rows(directory / "mmlu/test.jsonl"))[:1]
    candidate.__dict__["max_length"] = 2
    task = LocalTask(template("mmlu_cloze", task="task", num_fewshot=0), [row])
    harness = prepare({"task": task}, candidate, 0)
    assert harness.evaluate(candidate) == {}
    assert harness.items == []
