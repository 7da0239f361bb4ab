"""Few-shot sets: lm-eval's definitions, draws of examples, contexts cut from the left, the study's own scorer."""

import json
import random
from pathlib import Path

import lm_eval.tasks
import pytest
import yaml

from tests.workers.evaluation.examinee import make_candidate, values
from workers.context import BadInput
from workers.evaluation.answers import Answers
from workers.evaluation.benchmark import BUILT_IN, FEW_SHOT, checked
from workers.evaluation.few_shot import LEGACY, TESTS, measure, rows_of, shorten
from workers.evaluation.harness import LocalTask, template
from workers.evaluation.sources import locate
from workers.specs.data import DataSource
from workers.specs.evaluate import Benchmark

DEFINITIONS = Path(next(iter(lm_eval.tasks.__path__)))
THEIRS = {
    "mnli": "glue/mnli/default.yaml",
    "mrpc": "glue/mrpc/default.yaml",
    "rte": "glue/rte/default.yaml",
    "qnli": "glue/qnli/default.yaml",
    "sst2": "glue/sst2/default.yaml",
    "wnli": "glue/wnli/default.yaml",
    "arc": "arc/arc_easy.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "lambada": "lambada/lambada_openai.yaml",
}
WORDS = ("red", "blue", "green", "town", "river", "dog", "king", "house")
CHOICES = {"text": ["Red", "blue", "Green", "town"], "label": ["1", "2", "3", "4"]}


def row(name: str, number: int) -> dict[str, object]:
    one, other = WORDS[number % 8], WORDS[(number * 3 + 1) % 8]
    pair = {"sentence1": f"the {one} {number}", "sentence2": f"a {other}", "label": number % 2}
    return {
        "mnli": {"premise": f"the {one} {number}", "hypothesis": f"a {other}", "label": number % 3},
        "mrpc": pair,
        "rte": pair,
        "wnli": pair,
        "qnli": {"question": f"which {one} {number}?", "sentence": f"the {other}", "label": number % 2},
        "sst2": {"sentence": f"the {one} {number} {other}", "label": number % 2},
        "arc_easy": {
            "question": f"which {one} {number}?",
            "choices": CHOICES,
            "answerKey": str(1 + number % 4),
        },
        "arc_challenge": {"question": f"which {one} {number}?", "choices": CHOICES, "answerKey": "2"},
        "hellaswag": {
            "activity_label": "Walk",
            "ctx_a": f"the {one} {number} [step] is",
            "ctx_b": "it",
            "endings": list(WORDS[:4]),
            "label": str(number % 4),
        },
        "lambada": {"text": f"the {one} and the {other} {one}"},
    }[name]


@pytest.fixture
def source(tmp_path: Path) -> DataSource:
    for name, test in TESTS.items():
        folder = tmp_path / name
        folder.mkdir()
        for split, count, start in ((test.split, 9, 0), ("train", 20, 100)):
            rows = (json.dumps(row(name, start + number)) for number in range(count))
            (folder / f"{split}.jsonl").write_text("\n".join(rows))
    return DataSource(hub=str(tmp_path))


def asked(task: str, source: DataSource, **settings) -> Benchmark:
    return Benchmark(task=task, source=source, **settings)


def test_every_set_is_built_in_with_its_legacy_form() -> None:
    assert set(FEW_SHOT) == {*TESTS, *(f"{name}_legacy" for name in LEGACY)}
    assert {BUILT_IN[name] for name in FEW_SHOT} == {"workers.evaluation.few_shot:measure"}


@pytest.mark.parametrize("task", FEW_SHOT)
def test_every_set_has_an_accuracy(candidate, source, task) -> None:
    shots = 0 if task == "lambada" else 2
    measurement = checked(task, measure(asked(task, source, shots=shots), candidate))
    found = values(measurement.metrics)
    right = [sample["score"] for sample in measurement.samples]
    assert found[task, "accuracy"] == pytest.approx(sum(right) / 9)
    assert found[task, "cut"] == 0
    assert ((task, "f1") in found) == task.startswith("mrpc")
    assert (task, "draw_deviation") not in found
    assert not any(sample["generated"] for sample in measurement.samples)


class Loader(yaml.SafeLoader):
    """Reads lm-eval's own tags as text."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@pytest.mark.parametrize("name", THEIRS)
def test_definitions_are_lm_evals(name) -> None:
    """What differs: candidates in the study's words, and templates in place of their Python."""
    theirs = yaml.load((DEFINITIONS / THEIRS[name]).read_text(), Loader)
    ours = template(name)
    assert ours["output_type"] == theirs["output_type"]
    converted = ("arc", "hellaswag")
    for key in ("doc_to_text", "doc_to_target", "doc_to_choice"):
        if name in converted and key != "doc_to_text":
            continue
        if str(theirs.get(key)).startswith("utils."):
            continue
        found, expected = ours.get(key), theirs.get(key)
        if key == "doc_to_choice" and name in ("qnli", "sst2"):
            assert found == [word.capitalize() for word in expected]
        else:
            assert found == expected
    assert {each["metric"] for each in ours["metric_list"]} <= {
        each["metric"] for each in theirs["metric_list"]
    }


def test_converted_rows_are_those_of_lm_evals_code() -> None:
    from lm_eval.tasks.glue.mnli.utils import doc_to_text

    for hypothesis in ("a dog", "a dog. "):
        doc = {"premise": "the town", "hypothesis": hypothesis, "label": 0}
        [request, *_] = LocalTask(template("mnli", num_fewshot=0), [doc]).requests()[0]
        assert request.args[0] == doc_to_text(doc)
    swag = TESTS["hellaswag"].convert(row("hellaswag", 1))
    assert swag == {"query": "Walk: the blue 1 is It", "options": list(WORDS[:4]), "answer": 1}
    arc = TESTS["arc_easy"].convert(row("arc_easy", 2))
    assert (arc["options"][0], arc["lowered"][0], arc["answer"]) == ("Red", "red", 2)


def test_examples_are_drawn_anew_for_every_item_with_each_seed(candidate, source) -> None:
    drawn = asked("rte", source, shots=3, draws=(42, 7), limit=4)
    seen: list[list[str]] = []

    def record(requests):
        seen.append([text for text, _ in requests])
        return [candidate_score(one) for one in requests]

    candidate_score = lambda one: type("S", (), {"log_probability": -float(len(one[1])), "greedy": False})()  # noqa: E731
    candidate.__dict__["score"] = record
    try:
        measurement = measure(drawn, candidate)
    finally:
        del candidate.__dict__["score"]
    assert len(seen) == 2 and seen[0] != seen[1]
    pool = rows_of(locate(source, candidate.context), "rte", "train")
    for seed, texts in zip((42, 7), seen, strict=True):
        draw = random.Random(seed)
        for place in range(4):
            shots = draw.sample(pool, 3)
            text = candidate.tokenizer.decode(texts[2 * place])
            first = candidate.tokenizer.decode(candidate.encode([shots[0]["sentence1"]], special=False)[0])
            assert first in text
    assert values(measurement.metrics)["rte", "draw_deviation"] == 0, "lengths alone decide here"


def test_draws_are_averaged_and_their_spread_is_given(candidate, source) -> None:
    seeds = (42, 1234, 1337)
    each = []
    for seed in seeds:
        candidate.answers = Answers()
        found = values(measure(asked("mnli", source, shots=2, draws=(seed,)), candidate).metrics)
        assert ("mnli", "draw_deviation") not in found
        each.append(found["mnli", "accuracy"])
    candidate.answers = Answers()
    rows = measure(asked("mnli", source, shots=2, draws=seeds), candidate).metrics
    found = values(rows)
    assert found["mnli", "accuracy"] == pytest.approx(sum(each) / 3)
    mean = sum(each) / 3
    deviation = (sum((one - mean) ** 2 for one in each) / 2) ** 0.5
    assert found["mnli", "draw_deviation"] == pytest.approx(deviation)
    assert rows[0]["n"] == 9, "the error is by item"


def texts_of(candidate, benchmark: Benchmark) -> list[tuple[str, str]]:
    """(context, candidate) of the first item."""
    from workers.evaluation.few_shot import _asked

    found = _asked(locate(benchmark.source, candidate.context), benchmark, candidate, None)
    [task] = found.harness.tasks.values()
    return [request.args for request in task.requests()[0]]


def test_the_studys_scorer_is_repeated_with_its_mistakes(candidate, source) -> None:
    """Section 7.2, and what is right instead."""

    def pairs(task: str) -> tuple[str, list[str]]:
        found = texts_of(candidate, asked(task, source, shots=1))
        return found[0][0], [answer for _, answer in found]

    assert pairs("mrpc")[1] == [" no", " yes"]
    shown, candidates = pairs("mrpc_legacy")
    assert candidates == ["no", "yes"] and "Answer: no" in shown
    shown, candidates = pairs("qnli_legacy")
    assert candidates == [" True", " False"] and "Answer: Yes" in shown
    assert pairs("qnli")[1] == [" Yes", " No"]
    assert pairs("wnli")[1] == [" False", " True"]
    assert pairs("wnli_legacy")[1] == [" True", " Neither", " False"]
    shown, candidates = pairs("arc_easy_legacy")
    assert candidates == [" red", " blue", " green", " town"] and "Answer: Red" in shown
    assert pairs("arc_easy")[1] == [" Red", " blue", " Green", " town"]


def test_a_context_that_does_not_fit_is_cut_from_the_left() -> None:
    encoded = {"a": ([1, 2, 3, 4], [9]), "b": ([1, 2], [8, 9]), "c": ([1], [7, 8, 9, 10, 11])}
    assert shorten(encoded, 3) == 1
    assert encoded == {"a": ([2, 3, 4], [9]), "b": ([1, 2], [8, 9]), "c": ([1], [7, 8, 9, 10, 11])}


def test_long_examples_are_cut_and_counted(root, model_directory, loaded, source) -> None:
    short = make_candidate(root, model_directory, loaded, max_length=24)
    found = values(measure(asked("sst2", source, shots=5), short).metrics)
    assert found["sst2", "cut"] == 18, "both candidates of nine items"
    assert 0 <= found["sst2", "accuracy"] <= 1


def test_what_is_wrong_is_said(candidate, source, tmp_path) -> None:
    with pytest.raises(BadInput, match="21 shots wanted, but rte has 20"):
        measure(asked("rte", source, shots=21), candidate)
    (tmp_path / "arc_easy" / "validation.jsonl").write_text(
        json.dumps({**row("arc_easy", 0), "answerKey": "E"})
    )
    with pytest.raises(BadInput, match=r"arc_easy, validation\): a malformed row"):
        measure(asked("arc_easy", source), candidate)
    (tmp_path / "sst2" / "validation.jsonl").write_text(json.dumps({"sentence": "a dog"}))
    with pytest.raises(BadInput, match="row 1 has no usable 'label'"):
        measure(asked("sst2", source), candidate)
