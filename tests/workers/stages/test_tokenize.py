"""`tokenize`: shards that hold the corpus, once, whatever happened on the way; and reading them in blocks."""

import json
import os
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.commands import ASSETS
from tests.support.training import WORLD, Lab
from workers.checkpoints import newest_of
from workers.context import BadInput, StageStopped
from workers.data.ordered import OrderedRows
from workers.data.shards import HEADER, TokenBlocks, token_type
from workers.models.loading import read_tokenizer
from workers.recipe import Execution
from workers.specs.data import DataSource
from workers.specs.model import ModelRecipe
from workers.specs.tokenize import TOKENIZE, Corpus, TokenizeRecipe

WORLD_CORPUS = Corpus(source=WORLD)
WORLD_VALIDATION = Corpus(source=WORLD, split="validation")


def recipe(**others) -> TokenizeRecipe:
    settings = {"tokenizer": WORLD, "corpus": WORLD_CORPUS, "validation": WORLD_VALIDATION}
    return TokenizeRecipe(**settings | {"batch_documents": 64, "shard_tokens": 1000} | others)


def ids(output: Path, split: str) -> list[int]:
    paths = sorted((output / "tokens" / split).glob("*.npy"))
    return list(chain.from_iterable(np.load(path).tolist() for path in paths))


def text_source(tmp_path: Path, **files: str) -> DataSource:
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return DataSource(hub=str(tmp_path))


def documents(tokenizer, ids_of: list[int]) -> list[str]:
    text = tokenizer.decode(ids_of)
    return [part.strip() for part in text.split(tokenizer.eos_token) if part.strip()]


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path / "runs")


def test_every_document_in_order_with_its_marks(lab: Lab) -> None:
    ran = lab.run(TOKENIZE, recipe())
    directory = next((lab.workspace.cache).rglob("pretrain/train.jsonl")).parent
    tokenizer = read_tokenizer(ran.output / "tokenizer")
    for split in ("train", "validation"):
        rows = [json.loads(line)["text"] for line in (directory / f"{split}.jsonl").read_text().splitlines()]
        expected = list(chain.from_iterable(tokenizer(rows, add_special_tokens=False)["input_ids"]))
        assert ids(ran.output, split) == expected, "the world's texts bring their end mark along"
    assert ran.value("train_documents") == 400
    assert ran.value("train_tokens") == len(ids(ran.output, "train"))
    header = json.loads((ran.output / "tokens" / HEADER).read_text())
    assert header["vocabulary"] == len(tokenizer)
    assert header["tokens"]["train"][:-1] == [1000] * (len(header["tokens"]["train"]) - 1)


@pytest.mark.parametrize(("marks", "count"), [((), 0), (("end",), 3), (("start", "end"), 6)])
def test_marks_and_paragraphs(lab: Lab, tmp_path: Path, marks, count: int) -> None:
    source = text_source(tmp_path, train="hello.\n\nhello, can you help me?\n \nyes, ask me.")
    corpus = Corpus(source=source, documents="paragraph")
    ran = lab.run(TOKENIZE, recipe(corpus=corpus, validation=None, marks=marks))
    found = ids(ran.output, "train")
    assert ran.value("train_documents") == 3
    assert sum(one in (1, 2) for one in found) == count


def test_held_out_documents_are_neither_lost_nor_seen_twice(lab: Lab) -> None:
    whole = lab.run(TOKENIZE, recipe(validation=None))
    split = lab.run(TOKENIZE, recipe(validation=None, held_out=0.2))
    other = lab.run(TOKENIZE, recipe(validation=None, held_out=0.2, split_seed=1))
    tokenizer = read_tokenizer(whole.output / "tokenizer")
    parts = [documents(tokenizer, ids(split.output, name)) for name in ("train", "validation")]
    assert sorted(chain(*parts)) == sorted(documents(tokenizer, ids(whole.output, "train")))
    assert 50 < len(parts[1]) < 110
    assert ids(other.output, "validation") != ids(split.output, "validation")


def test_the_rest_of_a_batch_is_dropped_where_the_study_drops_it(lab: Lab) -> None:
    ran = lab.run(TOKENIZE, recipe(block=32))
    kept = lab.run(TOKENIZE, recipe())
    assert len(ids(ran.output, "train")) % 32 == 0
    assert len(ids(kept.output, "train")) - len(ids(ran.output, "train")) > 32


@pytest.mark.parametrize("at", [1, 4])
def test_an_interrupted_tokenization_goes_on(lab: Lab, at: int) -> None:
    whole = lab.run(TOKENIZE, recipe())
    checkpoint = lab.interrupt(TOKENIZE, recipe(), (), at)
    assert int(checkpoint.name) == at
    resumed = lab.run(TOKENIZE, recipe(), resume_from=checkpoint)
    assert resumed.bytes() == whole.bytes()
    assert resumed.result.metrics == whole.result.metrics


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_shard_is_written_anew(lab: Lab, damage: str) -> None:
    whole = lab.run(TOKENIZE, recipe())
    checkpoint = lab.interrupt(TOKENIZE, recipe(), (), 5)
    shard = checkpoint.parent.parent / "output" / "tokens" / "train" / "00000.npy"
    shard.unlink()
    if damage == "changed":
        shard.write_bytes(b"nothing")
    assert lab.run(TOKENIZE, recipe(), resume_from=checkpoint).bytes() == whole.bytes()


def test_checkpoints_are_written_on_the_way(lab: Lab) -> None:
    stage = lab.stage(TOKENIZE, recipe())
    context = lab.context(stage, (), execution=Execution(device="cpu", checkpoint_steps=2))
    context.stop_requested = lambda: len(list(context.checkpoints.glob("[0-9]*"))) == 2
    with pytest.raises(StageStopped):
        TOKENIZE.load_runner()(recipe(), context)
    assert newest_of(list(context.checkpoints.glob("[0-9]*"))).name == "000005"


def test_threads_do_not_change_a_byte_and_are_put_back(lab: Lab, monkeypatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    one, two = (lab.run(TOKENIZE, recipe(threads=count)) for count in (1, 2))
    assert one.bytes() == two.bytes()
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    assert "RAYON_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("files", "corpus", "message"),
    [
        ({"train": "  \n"}, {}, "no text"),
        ({"other": "hello"}, {}, "found none of"),
        ({"train": "hello"}, {"column": "body"}, "row 1 has no text in column 'body'"),
    ],
)
def test_bad_corpora_are_told_apart(lab: Lab, tmp_path: Path, files, corpus, message: str) -> None:
    source = text_source(tmp_path, **files)
    with pytest.raises(BadInput, match=message):
        lab.run(TOKENIZE, recipe(corpus=Corpus(source=source, **corpus), validation=None))


def test_ids_take_two_bytes_while_they_can() -> None:
    assert token_type(50_257).itemsize == token_type(65_536).itemsize == 2
    assert token_type(65_537).itemsize == 4


@pytest.mark.parametrize("size", [7, 64, 1500])
def test_blocks_cross_the_ends_of_shards(lab: Lab, size: int) -> None:
    ran = lab.run(TOKENIZE, recipe())
    everything = ids(ran.output, "train")
    vocabulary = len(read_tokenizer(ran.output / "tokenizer"))
    blocks = TokenBlocks(ran.output / "tokens", "train", size, vocabulary)
    assert len(blocks) == len(everything) // size
    assert torch.cat(list(blocks)).tolist() == everything[: len(blocks) * size]
    assert blocks[-1].tolist() == blocks[len(blocks) - 1].tolist()
    assert blocks[1].dtype == torch.int64
    with pytest.raises(IndexError):
        blocks[len(blocks)]


def test_blocks_of_the_wrong_thing_are_refused(lab: Lab, tmp_path: Path) -> None:
    ran = lab.run(TOKENIZE, recipe(validation=None))
    tokens = ran.output / "tokens"
    vocabulary = len(read_tokenizer(ran.output / "tokenizer"))
    with pytest.raises(BadInput, match="no tokens of split 'validation'; there are: train"):
        TokenBlocks(tokens, "validation", 8, vocabulary)
    with pytest.raises(BadInput, match="of a vocabulary of"):
        TokenBlocks(tokens, "train", 8, 50_257)
    with pytest.raises(BadInput, match="do not fill one block"):
        TokenBlocks(tokens, "train", 10**6, vocabulary)
    with pytest.raises(BadInput, match="not left by a `tokenize` stage"):
        TokenBlocks(tmp_path, "train", 8, vocabulary)


def test_epochs_are_whole_shuffled_and_reached_from_anywhere() -> None:
    blocks = [torch.tensor([number]) for number in range(10)]
    rows = OrderedRows(blocks, 25, seed=3)
    found = [int(row["input_ids"]) for row in rows]
    assert sorted(found[:10]) == sorted(found[10:20]) == list(range(10))
    assert found[:10] != found[10:20]
    assert [int(rows[place]["input_ids"]) for place in (24, 3, 17)] == [found[place] for place in (24, 3, 17)]
    assert [int(row["input_ids"]) for row in rows[5:8]] == found[5:8]
    assert len(rows) == 25 and rows.tokens_in_first(7) == 7
    assert found != [int(row["input_ids"]) for row in OrderedRows(blocks, 25, seed=4)]


@pytest.mark.skipif(not ASSETS.is_dir(), reason="the assets folder is not beside the repository")
def test_real_text_with_the_real_tokenizer(lab: Lab, tmp_path: Path) -> None:
    from transformers import GPT2TokenizerFast

    folder = ASSETS / "tokenizer-gpt2"
    GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(
        tmp_path / "gpt2"
    )
    source = DataSource(hub=str(ASSETS / "text"), files=("wikitext-2.test.txt",))
    settings = {
        "tokenizer_model": ModelRecipe(hub=str(tmp_path / "gpt2")),
        "corpus": Corpus(source=source, documents="paragraph"),
        "validation": None,
    }
    ran = lab.run(TOKENIZE, recipe(**settings, marks=(), prefix_space=True))
    tokenizer = read_tokenizer(ran.output / "tokenizer")
    found = ids(ran.output, "train")
    assert 200_000 < len(found) < 400_000
    text = tokenizer.decode(found[:400])
    assert text.startswith(" ")
    assert "Robert <unk> is an English film , television and theatre actor" in text
