import pytest
import torch

from workers.evaluation.answers import Answers
from workers.evaluation.generation import Generator, cut, end_tokens

PROMPTS = [[1, 10, 11], [1, 12], [1, 13, 14, 15, 16], [1, 17, 18, 19], [1, 20, 21]]


def by_transformers(model, prompt, new_tokens):
    """The ids that transformers' own greedy generation gives for one prompt, its end mark kept."""
    said = model.generate(
        input_ids=torch.tensor([prompt]), max_new_tokens=new_tokens, do_sample=False, pad_token_id=3
    )
    ids = said[0, len(prompt) :].tolist()
    return ids[: ids.index(2)] if 2 in ids else ids


@pytest.mark.parametrize(("batch_size", "micro_batch"), [(1, None), (2, None), (8, None), (8, 3)])
def test_equals_transformers_one_prompt_at_a_time(loaded, batch_size, micro_batch):
    model, tokenizer = loaded
    completions = Generator(model, tokenizer, batch_size, micro_batch).complete(PROMPTS, 12, Answers())
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        assert list(completion.tokens) == by_transformers(model, prompt, 12)
        assert completion.text == tokenizer.decode(completion.tokens, skip_special_tokens=True)


def other(architecture, sliding_window=4):
    """A tiny random model of another architecture."""
    import transformers as t

    torch.manual_seed(0)
    sizes = {"vocab_size": 223, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    if architecture == "gpt2":
        model = t.GPT2LMHeadModel(t.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **sizes))
    else:
        shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
        configuration = t.MistralConfig(
            num_key_value_heads=2, sliding_window=sliding_window, **shape, **sizes
        )
        model = t.MistralForCausalLM(configuration)
    for parameter in model.parameters():
        parameter.data.mul_(4.0)
    return model.eval()


@pytest.mark.parametrize("architecture", ["gpt2", "mistral"])
def test_other_architectures(loaded, architecture):
    model = other(architecture)
    completions = Generator(model, loaded[1], 3).complete(PROMPTS, 12, Answers())
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        assert list(completion.tokens) == by_transformers(model, prompt, 12)


def steered(model, monkeypatch, script):
    """Make the model say the scripted ids: step to one id for each row of the batch."""
    from types import SimpleNamespace

    calls: list[int] = []

    def say(**inputs):
        words = script[len(calls)]
        calls.append(len(inputs["input_ids"]))
        logits = torch.zeros(len(words), 1, model.config.vocab_size)
        logits[range(len(words)), 0, words] = 1.0
        return SimpleNamespace(logits=logits, past_key_values=None)

    monkeypatch.setattr(model, "forward", say)
    return calls


def test_a_batch_stops_when_every_row_has_ended(loaded, monkeypatch):
    model, tokenizer = loaded
    calls = steered(model, monkeypatch, [[9, 2], [2, 8], [7, 7]])
    first, second = Generator(model, tokenizer, 2).complete([[1, 5], [1, 5]], 50, Answers())
    assert len(calls) == 2
    assert (first.tokens, second.tokens) == ((9,), ())
    assert first.ended
    assert second.ended


def test_a_completion_without_an_end_says_so(loaded, monkeypatch):
    model, tokenizer = loaded
    steered(model, monkeypatch, [[9], [9], [9]])
    [completion] = Generator(model, tokenizer, 2).complete([[1, 5]], 3, Answers())
    assert completion.tokens == (9, 9, 9)
    assert not completion.ended


def test_stop_texts_cut_and_end_early(loaded, monkeypatch):
    model, tokenizer = loaded
    stop = tokenizer.decode([9])
    calls = steered(model, monkeypatch, [[8], [9], *[[8]] * 48])
    [completion] = Generator(model, tokenizer, 1).complete([[1, 5]], 50, Answers(), (stop,))
    assert len(calls) == 8
    assert stop not in completion.text
    assert completion.ended


def test_stop_texts_do_not_depend_on_when_they_are_looked_for(loaded):
    model, tokenizer = loaded
    whole = Generator(model, tokenizer, 8).complete(PROMPTS, 12, Answers())
    stop = tuple(tokenizer.decode([item.tokens[3]]) for item in whole if len(item.tokens) > 3)
    stopped = Generator(model, tokenizer, 8).complete(PROMPTS, 12, Answers(), stop)
    assert [item.text for item in stopped] == [cut(item.text, stop) for item in whole]


def test_cut_takes_the_first_stop():
    assert cut("one two three", ["three", "two"]) == "one "
    assert cut("one", ["", "two"]) == "one"


def test_end_marks_come_from_tokenizer_and_settings(loaded):
    model, tokenizer = loaded
    assert end_tokens(model, tokenizer) == frozenset({2})


def test_empty_prompts_are_refused(loaded):
    with pytest.raises(ValueError, match="one token or more"):
        Generator(*loaded, 2).complete([[]], 2, Answers())
