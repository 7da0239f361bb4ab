import pytest
import torch

from workers.evaluation import scoring
from workers.evaluation.answers import Answers
from workers.evaluation.forward import logits_at
from workers.evaluation.scoring import Scorer

REQUESTS = [
    ([1, 10, 11, 12], [13]),
    ([1, 10, 11, 12], [14]),
    ([1, 20], [21, 22, 23]),
    ([1], [30, 31]),
    ([1, 20, 21], [22, 23]),
    ([1, 40, 41, 42, 43, 44, 45], [46, 2]),
]


def naive(model, context, continuation):
    """Log-probability by one whole forward pass and log-softmax."""
    ids = torch.tensor([[*context, *continuation]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0].double().log_softmax(-1)
    positions = range(len(context) - 1, ids.shape[1] - 1)
    total = sum(float(logits[position, ids[0, position + 1]]) for position in positions)
    return total, all(int(logits[position].argmax()) == int(ids[0, position + 1]) for position in positions)


@pytest.mark.parametrize(("batch_size", "micro_batch"), [(1, None), (3, None), (16, None), (4, 2)])
def test_equals_one_pass_for_each_request(loaded, batch_size, micro_batch):
    model, _ = loaded
    scored = Scorer(model, batch_size, micro_batch).score(REQUESTS, Answers())
    for found, (context, continuation) in zip(scored, REQUESTS, strict=True):
        expected, greedy = naive(model, context, continuation)
        assert found.log_probability == pytest.approx(expected, abs=1e-4)
        assert found.greedy == greedy


def test_an_adapter_is_scored_with_its_base(model_directory):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(str(model_directory))
    configuration = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_dropout=0.5
    )
    model = get_peft_model(base, configuration).eval()
    scored = Scorer(model, 3).score(REQUESTS, Answers())
    expected = [naive(model, *request)[0] for request in REQUESTS]
    assert [item.log_probability for item in scored] == pytest.approx(expected, abs=1e-4)


def test_a_greedy_continuation_is_recognised(loaded):
    model, _ = loaded
    with torch.no_grad():
        best = int(model(input_ids=torch.tensor([[1, 10]])).logits[0, -1].argmax())
    right, wrong = Scorer(model, 2).score([([1, 10], [best]), ([1, 10], [(best + 1) % 200])], Answers())
    assert right.greedy
    assert not wrong.greedy
    assert right.log_probability > wrong.log_probability


def test_continuations_that_differ_in_their_last_token_share_a_row(loaded):
    model, _ = loaded
    rows: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda module, arguments, settings: rows.append(len(settings["input_ids"])), with_kwargs=True
    )
    try:
        Scorer(model, 16).score(REQUESTS, Answers())
    finally:
        handle.remove()
    assert rows == [4]


def test_normalisation_in_chunks_changes_nothing(loaded, monkeypatch):
    model, _ = loaded
    whole = Scorer(model, 16).score(REQUESTS, Answers())
    monkeypatch.setattr(scoring, "CHUNK", 1)
    assert Scorer(model, 16).score(REQUESTS, Answers()) == whole


def test_logits_are_the_same_without_selection_of_positions(loaded):
    model, _ = loaded

    class Plain:
        device = model.device

        def forward(self, input_ids):
            raise NotImplementedError

        def __call__(self, input_ids, use_cache):
            return model(input_ids=input_ids, use_cache=use_cache)

    ids, positions = torch.tensor([[1, 5, 6, 7]]), torch.tensor([1, 3])
    with torch.no_grad():
        assert torch.allclose(logits_at(Plain(), ids, positions), logits_at(model, ids, positions), atol=1e-5)


@pytest.mark.parametrize("request_", [([], [5]), ([5], [])])
def test_empty_parts_are_refused(loaded, request_):
    with pytest.raises(ValueError, match="one token or more"):
        Scorer(loaded[0], 2).score([request_], Answers())


def test_no_request_asks_nothing(loaded):
    answers = Answers()
    assert Scorer(loaded[0], 2).score([], answers) == []
    assert answers.given == []
