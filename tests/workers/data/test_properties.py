"""Invariants of tokenization and order, for any dialogue and any limits."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.training import MISTRAL, VICUNA, WORLD
from workers.context import BadInput
from workers.data.dialogues import Example, Pair, Turn
from workers.data.files import source_directory, split_files
from workers.data.instructions import load_instructions
from workers.data.rows import read_rows
from workers.data.sampling import training_order
from workers.data.templates import Renderer
from workers.data.tokenization import Tokenization
from workers.specs.data import DataSource, InstructionData
from workers.training.reference import pair_key

WORDS = ("hello", "yes", "what", "is", "the", "sure", ".", ",", "?")
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
turns = st.lists(st.builds(Turn, texts, texts), max_size=2).map(tuple)
pairs = st.builds(Pair, texts, texts, texts, turns)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(pair=pairs, prompt_limit=st.integers(1, 40), limit=st.integers(2, 60), mistral=st.booleans())
def test_tokenized_pairs_keep_their_rules(tokenizer, pair, prompt_limit, limit, mistral):
    template = MISTRAL if mistral else VICUNA
    cut = Tokenization(tokenizer, Renderer(template, tokenizer.eos_token), prompt_limit, limit)
    whole = Tokenization(tokenizer, Renderer(template, tokenizer.eos_token), 10_000, 20_000)
    (full,) = whole.pairs([pair])
    found = cut.pairs([pair])
    longest = max(len(full.chosen_ids), len(full.rejected_ids))
    if not found:
        assert cut.dropped["too long"] == 1
        assert longest >= limit
        return
    (row,) = found
    assert (row.chosen_ids, row.rejected_ids) == (full.chosen_ids, full.rejected_ids)
    assert 1 <= len(row.prompt_ids) <= prompt_limit
    assert row.length <= limit
    assert row.chosen_ids[-1] == row.rejected_ids[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in row.chosen_ids[:-1] + row.rejected_ids[:-1]
    tail = row.prompt_ids[1:] if len(row.prompt_ids) > 1 else row.prompt_ids
    assert full.prompt_ids[len(full.prompt_ids) - len(tail) :] == tail


@quick
@given(pair=pairs)
def test_a_pair_and_its_chosen_example_see_the_same_ids(tokenizer, pair):
    whole = Tokenization(tokenizer, Renderer(VICUNA, tokenizer.eos_token), 10_000, 20_000)
    (row,), (example,) = whole.pairs([pair]), whole.examples([pair.preferred])
    assert row.prompt_ids + row.chosen_ids == example.prompt_ids + example.response_ids


@quick
@given(first=pairs, second=pairs)
def test_keys_tell_pairs_apart(tokenizer, first, second):
    whole = Tokenization(tokenizer, Renderer(VICUNA, tokenizer.eos_token), 10_000, 20_000)
    rows = whole.pairs([first, second])
    assert (pair_key(rows[0]) == pair_key(rows[1])) == (rows[0] == rows[1])


@quick
@given(rows=st.integers(1, 60), batch=st.integers(1, 8), steps=st.integers(1, 30), grouped=st.booleans())
def test_a_longer_training_begins_like_a_shorter_one(rows, batch, steps, grouped):
    lengths = [(place * 7) % 11 + 1 for place in range(rows)]
    short = training_order(lengths, steps * batch, batch, 3, grouped)
    long = training_order(lengths, 2 * steps * batch, batch, 3, grouped)
    assert long[: len(short)] == short
    counts = [long.count(place) for place in range(rows)]
    assert max(counts) - min(counts) <= 1


def test_the_generation_prompt_is_the_trained_one(tokenizer):
    """What a model continues at evaluation has the ids that stood before the answer in training."""
    history = (Turn("hello.", "yes."),)
    for template in (VICUNA, MISTRAL):
        renderer = Renderer(template, tokenizer.eos_token)
        (row,) = Tokenization(tokenizer, renderer, 1000, 2000).examples([Example("hello.", "sure.", history)])
        assert tokenizer(renderer.prompt(history, "hello."))["input_ids"] == row.prompt_ids


def test_a_tokenizers_own_end_mark_takes_the_literals_place():
    rendered = Renderer(MISTRAL, "<|end|>").render((), "a", "b")
    assert rendered.text == "[INST] a [/INST] b <|end|>"


@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("a.jsonl", '{"text": "a"}\n\n{"text": "b"}\n', 2),
        ("a.json", '[{"text": "a"}]', 1),
        ("b.json", '{"text": "a"}\n{"text": "b"}', 2),
        ("a.csv", 'text,other\n"a, and b",1\n', 1),
        ("a.txt", "some text", 1),
    ],
)
def test_formats(tmp_path, name, content, count):
    (tmp_path / name).write_text(content)
    rows = list(read_rows(tmp_path / name))
    assert len(rows) == count
    assert "text" in rows[0]


def test_parquet_rows(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.parquet")) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", "", "unknown format"),
        ("a.json", "[1]", "not an object"),
        ("a.json", "[", "not JSON"),
        ("a.jsonl.gz", "plain", "cannot be read"),
        ("a.jsonl", None, "does not exist"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=message):
        list(read_rows(tmp_path / name))


def test_split_files_by_name(context, tmp_path):
    for name in ("harmless/train.jsonl", "harmless/test.jsonl", "helpful/train.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    source = DataSource(hub=str(tmp_path), files=("{preference}/{split}.jsonl",))
    assert split_files(context, source, (), "test", "harmless").whole is False
    missing = split_files(context, source, (), "test", "helpful")
    assert missing.whole
    assert [path.name for path in missing.paths] == ["train.jsonl"]
    with pytest.raises(BadInput, match="no file matches"):
        split_files(context, DataSource(hub=str(tmp_path), files=("x.jsonl",)), (), "train")


def test_a_world_is_written_into_the_workspace(context):
    assert source_directory(context, WORLD).is_relative_to(context.workspace.cache)


def test_instructions_with_an_input_and_a_fixed_subset(context, tmp_path):
    (tmp_path / "train.jsonl").write_text(
        '{"instruction": "add", "input": "1 2", "output": "3"}\n'
        '{"instruction": "greet", "input": "", "output": "hello"}\n'
        '{"instruction": "nothing", "input": "", "output": " "}\n'
    )
    source = DataSource(hub=str(tmp_path))
    found = load_instructions(context, InstructionData(source=source))
    assert sorted(example.prompt for example in found) == ["add\n1 2", "greet"]
    assert load_instructions(context, InstructionData(source=source, samples=1)) == found[:1]


def test_instructions_without_answers_are_an_error(context, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"instruction": "add"}\n')
    with pytest.raises(BadInput, match="no row has both"):
        load_instructions(context, InstructionData(source=DataSource(hub=str(tmp_path))))


def test_real_alpaca_rows(context, assets):
    source = DataSource(hub=str(assets / "instruction" / "alpaca.5000.json"))
    assert len(load_instructions(context, InstructionData(source=source, samples=100))) == 100
