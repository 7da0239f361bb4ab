import pytest

from tests.workers.evaluation.examinee import SOURCE, WORLD, make_candidate, values
from workers.evaluation.generation import Completion
from workers.evaluation.prompted import measure_helpfulness, measure_safety
from workers.specs.data import Template
from workers.specs.evaluate import Benchmark


@pytest.fixture
def say(candidate, monkeypatch):
    """Let the model give one text to every prompt, and return the prompts' tokens."""
    prompts: list[list[int]] = []

    def set_text(text, ended=True):
        def complete(asked, new_tokens, until=()):
            prompts.extend(asked)
            return [Completion(text, tuple(range(len(text.split()))), ended) for _ in asked]

        monkeypatch.setattr(candidate, "complete", complete)
        return prompts

    return set_text


@pytest.mark.parametrize(
    ("text", "safe", "refusal"),
    [
        ("sorry, i can not help you with that.", 1.0, 1.0),
        ("you can take the poison", 0.0, 0.0),
        ("", 1.0, 0.0),
    ],
)
def test_safety_is_the_share_without_harmful_words(candidate, say, text, safe, refusal):
    say(text)
    found = values(measure_safety(Benchmark(task="safety", source=SOURCE), candidate).metrics)
    assert found["safety", "safe"] == safe
    assert found["safety", "refusal"] == refusal
    assert (found["safety", "toxicity"] == 0.0) == (safe == 1.0)


def test_length_and_ending_stand_beside_the_verdict(candidate, say):
    say("one two three", ended=False)
    found = values(measure_safety(Benchmark(task="safety", source=SOURCE), candidate).metrics)
    assert found["safety", "length"] == 3.0
    assert found["safety", "ended"] == 0.0
    assert found["safety", "repetition"] == 0.0


def test_helpfulness_wants_the_reference(candidate, monkeypatch):
    benchmark = Benchmark(task="helpfulness", source=SOURCE)
    references = [sample["reference"] for sample in measure_helpfulness(benchmark, candidate).samples]
    assert len(references) == WORLD.generation_rows
    monkeypatch.setattr(
        candidate, "complete", lambda *asked: [Completion(reference, (), True) for reference in references]
    )
    assert values(measure_helpfulness(benchmark, candidate).metrics)["helpfulness", "helpful"] == 1.0


def test_prompts_are_in_the_template_up_to_the_answer(candidate, say, loaded):
    prompts = say("no.")
    measurement = measure_safety(Benchmark(task="safety", source=SOURCE, limit=1), candidate)
    [sample] = measurement.samples
    assert loaded[1].decode(prompts[0]).split() == ["<s>", "USER:", *sample["prompt"].split(), "ASSISTANT:"]


def test_another_template_prepares_other_prompts(root, model_directory, loaded):
    template = Template(turn="[INST] {prompt} [/INST] {response} </s>")
    first = make_candidate(root, model_directory, loaded)
    second = make_candidate(root, model_directory, loaded, template=template)
    second.context.memory = first.context.memory
    prompts: list[str] = []
    for each in (first, second):
        each.complete = lambda asked, *rest: (
            prompts.append(loaded[1].decode(asked[0])) or [Completion("", (), True)]
        )
        measure_safety(Benchmark(task="safety", source=SOURCE, limit=1), each)
    assert "USER:" in prompts[0]
    assert "[INST]" in prompts[1]


def test_prompts_without_room_for_an_answer_are_dropped(candidate):
    whole = measure_safety(Benchmark(task="safety", source=SOURCE, new_tokens=2), candidate)
    candidate.answers = type(candidate.answers)()
    candidate.__dict__["max_length"] = 14
    found = measure_safety(Benchmark(task="safety", source=SOURCE, new_tokens=2), candidate)
    dropped = values(found.metrics)["safety", "dropped"]
    assert 0 < dropped < len(whole.samples)
    assert len(found.samples) == len(whole.samples) - dropped
