import numpy as np
import pytest
import torch

from tests.workers.evaluation.examinee import HARMLESS, HELPFUL, SOURCE, values
from workers.context import BadInput
from workers.evaluation.preferences import measure, named_sets, tokenized_pairs, wins
from workers.specs.data import PreferenceData
from workers.specs.evaluate import Benchmark

BENCHMARK = Benchmark(task="preference_accuracy", preferences=(HARMLESS, HELPFUL))


def reference(model, prompt, answer):
    """Summed log-probability in nats by NumPy, from one whole forward pass."""
    ids = [*prompt, *answer]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double().numpy()
    logits = logits - logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    places = np.arange(len(prompt) - 1, len(ids) - 1)
    return float(logs[places, ids[len(prompt) :]].sum())


@pytest.mark.parametrize(("data", "name"), [(HARMLESS, "harmless"), (HELPFUL, "helpful")])
def test_equals_a_numpy_reference(candidate, loaded, data, name):
    found = values(measure(BENCHMARK, candidate).metrics)
    pairs = tokenized_pairs(data, None, candidate, candidate.context)
    summed = np.array(
        [
            [reference(loaded[0], pair.prompt_ids, answer) for answer in (pair.chosen_ids, pair.rejected_ids)]
            for pair in pairs.tokens
        ]
    )
    lengths = np.array([[len(pair.chosen_ids), len(pair.rejected_ids)] for pair in pairs.tokens])
    means = summed / lengths
    assert found["preference_accuracy", name] == np.mean(means[:, 0] > means[:, 1])
    assert found["preference_accuracy", f"{name}.summed"] == np.mean(summed[:, 0] > summed[:, 1])
    assert found["preference_accuracy", f"{name}.margin"] == pytest.approx(np.mean(means @ [1, -1]), abs=1e-4)


def test_the_first_set_is_primary(candidate):
    for sets, name in (((HARMLESS, HELPFUL), "harmless"), ((HELPFUL, HARMLESS), "helpful")):
        candidate.answers = type(candidate.answers)()
        rows = measure(Benchmark(task="preference_accuracy", preferences=sets), candidate).metrics
        [primary] = [row for row in rows if row["primary"]]
        assert primary["metric"] == "accuracy"
        assert primary["value"] == values(rows)["preference_accuracy", name]


def test_an_answer_ends_in_its_end_mark(candidate):
    pairs = tokenized_pairs(HARMLESS, 4, candidate, candidate.context)
    assert all(pair.chosen_ids[-1] == pair.rejected_ids[-1] == 2 for pair in pairs.tokens)
    assert all(pair.prompt_ids[0] == 1 for pair in pairs.tokens)


@pytest.mark.parametrize(
    ("chosen", "rejected", "score"), [(-1.0, -2.0, 1.0), (-2.0, -1.0, 0.0), (-1.0, -1.0, 0.5)]
)
def test_ties_are_one_half(chosen, rejected, score):
    assert wins(chosen, rejected) == score


def test_a_model_without_numbers_has_no_accuracy(candidate, monkeypatch):
    from workers.evaluation.scoring import Scored

    monkeypatch.setattr(candidate, "score", lambda requests: [Scored(float("nan"), False) for _ in requests])
    measurement = measure(BENCHMARK, candidate)
    assert values(measurement.metrics)["preference_accuracy", "accuracy"] is None
    assert measurement.samples[0]["verdict"] is None


def test_length_does_not_decide(candidate, monkeypatch):
    from workers.evaluation.scoring import Scored

    monkeypatch.setattr(
        candidate, "score", lambda requests: [Scored(-1.0 * len(answer), False) for _, answer in requests]
    )
    found = values(measure(BENCHMARK, candidate).metrics)
    assert found["preference_accuracy", "harmless"] == 0.5
    assert found["preference_accuracy", "harmless.summed"] != 0.5


def test_errors_are_clustered_by_prompt(candidate):
    [primary] = [row for row in measure(BENCHMARK, candidate).metrics if row["primary"]]
    pairs = tokenized_pairs(HARMLESS, None, candidate, candidate.context)
    assert values(measure_again(candidate).metrics)["preference_accuracy", "harmless.prompts"] == len(
        set(pairs.prompts())
    )
    assert primary["stderr"] is None or primary["stderr"] >= 0


def measure_again(candidate):
    candidate.answers = type(candidate.answers)()
    return measure(BENCHMARK, candidate)


def test_names_tell_sets_apart():
    beavertails = PreferenceData(dataset="beavertails", preference="harmless", source=SOURCE)
    assert list(named_sets((HARMLESS, HELPFUL, beavertails))) == [
        "harmless",
        "helpful",
        "harmless.beavertails",
    ]
    with pytest.raises(BadInput, match="two sets are harmless of hh-rlhf"):
        named_sets((HARMLESS, HARMLESS, HARMLESS))


def test_pairs_that_do_not_fit_are_dropped(candidate):
    whole = tokenized_pairs(HARMLESS, None, candidate, candidate.context)
    candidate.__dict__["max_length"] = sorted(pair.length for pair in whole.tokens)[5]
    fitting = tokenized_pairs(HARMLESS, None, candidate, candidate.context)
    assert fitting.dropped == len(whole.pairs) - len(fitting.pairs) > 0
    assert set(fitting.pairs) < set(whole.pairs)


def test_some_set_is_needed(candidate):
    with pytest.raises(BadInput, match="needs `preferences`"):
        measure(Benchmark(task="preference_accuracy"), candidate)
