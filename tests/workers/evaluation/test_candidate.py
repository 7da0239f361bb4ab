from types import SimpleNamespace

from workers.evaluation.candidate import tokenizer_digest


def test_special_tokens_follow_lm_evals_rule(candidate, loaded):
    _, tokenizer = loaded
    plain, marked = candidate.encode(["the river", "<s> the river"])
    assert plain == marked == tokenizer("the river")["input_ids"]
    assert candidate.encode(["the river"], special=False) == [plain[1:]]
    assert candidate.encode([]) == []


def test_the_shorter_context_counts(candidate):
    assert candidate.max_length == 128
    candidate.__dict__.pop("max_length")
    candidate.model = SimpleNamespace(config=SimpleNamespace(n_positions=64))
    assert candidate.max_length == 64


def test_the_prefix_is_the_beginning_mark_or_the_end_mark(candidate):
    assert candidate.prefix == 1
    candidate.tokenizer = SimpleNamespace(bos_token_id=None, eos_token_id=7)
    assert candidate.prefix == 7


def test_equal_tokenizers_have_equal_digests(model_directory, loaded):
    from transformers import AutoTokenizer

    first, second = (AutoTokenizer.from_pretrained(str(model_directory)) for _ in range(2))
    assert tokenizer_digest(first) == tokenizer_digest(second)
    third = AutoTokenizer.from_pretrained(str(model_directory))
    third.add_tokens(["another"])
    assert tokenizer_digest(third) != tokenizer_digest(first)


def test_computing_is_counted(candidate):
    candidate.score([([1, 5], [6])])
    candidate.complete([[1, 5]], 2)
    assert candidate.context.seconds["compute"] > 0
