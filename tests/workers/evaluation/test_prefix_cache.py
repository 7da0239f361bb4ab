"""Scoring on top of a shared prefix against one whole pass for each request."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from tests.workers.evaluation.test_generation import other
from tests.workers.evaluation.test_scoring import REQUESTS, naive
from workers.evaluation import scoring
from workers.evaluation.answers import Answers
from workers.evaluation.prefix_cache import SharedPrefix, shares_prefixes
from workers.evaluation.scoring import Scored, Scorer

PREFIX = [1, *random.Random(0).choices(range(4, 200), k=39)]


def asked(count: int = 12, letters: int = 3) -> list[tuple[list[int], list[int]]]:
    """Questions of several lengths after one prefix, each with several one-token and longer answers."""
    draw = random.Random(1)
    requests = []
    for _ in range(count):
        question = PREFIX + draw.choices(range(4, 200), k=draw.randint(2, 9))
        requests += [(question, [letter]) for letter in range(50, 50 + letters)]
        requests.append((question, draw.choices(range(4, 200), k=draw.randint(2, 4))))
    return requests


MIXED = [*REQUESTS, *asked()]


def llama(loaded: Any, directory: Any) -> Any:
    return loaded[0]


def mistral(window: int, loaded: Any, directory: Any) -> Any:
    return other("mistral", sliding_window=window)


def gpt2(loaded: Any, directory: Any) -> Any:
    return other("gpt2")


def adapted(loaded: Any, directory: Any, **settings: Any) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(str(directory), **settings)
    configuration = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_dropout=0.5
    )
    return get_peft_model(base, configuration).eval()


def four_bit(loaded: Any, directory: Any) -> Any:
    """The same on a base of whole blocks of 64 weights."""
    from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    wide = directory.with_name("wide")
    LlamaForCausalLM(LlamaConfig(vocab_size=223, max_position_embeddings=128, **shape)).save_pretrained(wide)
    storage = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    return adapted(loaded, wide, quantization_config=storage, dtype=torch.float32)


MODELS: dict[str, Callable[[Any, Any], Any]] = {
    "llama": llama,
    "mistral, window inside the question": partial(mistral, 4),
    "mistral, window into the prefix": partial(mistral, 24),
    "mistral, window beyond both": partial(mistral, 512),
    "gpt2": gpt2,
    "adapter": adapted,
    "adapter on four bits": four_bit,
}


class Passes:
    """(rows, tokens) of each forward pass of a model while the block runs."""

    def __init__(self, model: Any) -> None:
        self.shapes: list[tuple[int, int]] = []
        self._model = model

    def __enter__(self) -> "Passes":
        self._handle = self._model.register_forward_pre_hook(self._note, with_kwargs=True)
        return self

    def __exit__(self, *others: object) -> None:
        self._handle.remove()

    def _note(self, module: Any, arguments: Any, settings: dict[str, Any]) -> None:
        self.shapes.append(tuple(settings["input_ids"].shape))


def score(model: Any, requests: Any, batch_size: int = 5, **settings: Any) -> list[Scored]:
    return Scorer(model, batch_size, **settings).score(requests, Answers())


@pytest.mark.parametrize("name", MODELS)
def test_equals_one_pass_for_each_request(loaded, model_directory, name):
    model = MODELS[name](loaded, model_directory)
    with Passes(model) as passes:
        found = score(model, MIXED)
    assert passes.shapes[0] == (1, len(PREFIX))
    for scored, request in zip(found, MIXED, strict=True):
        expected, greedy = naive(model, *request)
        assert scored.log_probability == pytest.approx(expected, abs=2e-4)
        assert scored.greedy == greedy


def test_the_prefix_is_read_once(loaded):
    model, _ = loaded
    with Passes(model) as passes:
        score(model, asked(), 5)
    assert passes.shapes.count((1, len(PREFIX))) == 1
    assert all(tokens <= 9 + 3 for _, tokens in passes.shapes[1:])
    assert sum(rows for rows, _ in passes.shapes[1:]) == 2 * 12


def test_two_subjects_have_a_prefix_each(loaded):
    model, _ = loaded
    second = [([context[0], 3, *context[2:]], answer) for context, answer in asked()]
    together = score(model, [*asked(), *second])
    for scored, request in zip(together, [*asked(), *second], strict=True):
        assert scored.log_probability == pytest.approx(naive(model, *request)[0], abs=2e-4)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_memory_decides_how_and_never_whether(loaded, batch_size):
    """Parts of a batch change rounding alone, and the prefix is read once all the same."""
    model, _ = loaded
    whole = score(model, MIXED, batch_size)
    with Passes(model) as passes:
        parts = score(model, MIXED, batch_size, micro_batch=2)
    assert passes.shapes.count((1, len(PREFIX))) == 1
    assert [item.log_probability for item in parts] == pytest.approx(
        [item.log_probability for item in whole], abs=2e-4
    )


@pytest.mark.parametrize("done", [1, 2, 3, 5])
def test_a_resumed_subject_equals_an_uninterrupted_one(loaded, done):
    """Bit for bit, whatever was answered before: the prefix is read again where some rows are left."""
    model, _ = loaded
    whole = Answers()
    expected = Scorer(model, 5).score(MIXED, whole)
    resumed = Answers(whole.given[:done])
    with Passes(model) as passes:
        assert Scorer(model, 5).score(MIXED, resumed) == expected
    assert resumed.given == whole.given
    subject_is_done = done == 5
    assert ((1, len(PREFIX)) in passes.shapes) is not subject_is_done


def test_the_order_of_requests_changes_no_bit(loaded):
    model, _ = loaded
    places = list(range(len(MIXED)))
    random.Random(3).shuffle(places)
    expected = score(model, MIXED)
    assert score(model, [MIXED[place] for place in places]) == [expected[place] for place in places]


def test_few_rows_are_scored_as_if_nothing_were_shared(loaded, monkeypatch):
    model, _ = loaded
    few = [*REQUESTS, *asked(count=3, letters=1)]
    found = score(model, few)
    monkeypatch.setattr(scoring, "shared_prefixes", lambda heads, sizes: [])
    assert score(model, few) == found


def test_a_cache_serves_any_number_of_rows_and_stays_as_it_was(loaded):
    model, _ = loaded
    prefix = SharedPrefix(model, PREFIX)
    with torch.inference_mode():
        before = [layer.keys.clone() for layer in prefix.cache.layers]
        for rows in (1, 7):
            model(input_ids=torch.full((rows, 3), 5), past_key_values=prefix.cache, use_cache=True)
    assert prefix.cache.get_seq_length() == prefix.length == len(PREFIX)
    assert all(torch.equal(one, layer.keys) for one, layer in zip(before, prefix.cache.layers, strict=True))


def test_architectures_with_other_states_are_scored_whole(monkeypatch):
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(
        MambaConfig(vocab_size=223, hidden_size=16, num_hidden_layers=1, state_size=4)
    ).eval()
    assert not shares_prefixes(model)
    with Passes(model) as passes:
        found = score(model, asked(), 64)
    assert len(passes.shapes) == 1
    assert found[0].log_probability == pytest.approx(naive(model, *asked()[0])[0], abs=1e-4)
