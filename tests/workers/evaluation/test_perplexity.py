import math

import pytest
import torch

from tests.workers.evaluation.examinee import SOURCE, WORLD, values
from workers.context import BadInput
from workers.evaluation.perplexity import documents, measure
from workers.evaluation.sources import locate
from workers.specs.data import DataSource
from workers.specs.evaluate import Benchmark


def test_equals_a_plain_pass_over_each_document(candidate, loaded):
    model, tokenizer = loaded
    found = values(measure(Benchmark(task="perplexity", source=SOURCE), candidate).metrics)
    nats, tokens, words, size = 0.0, 0, 0, 0
    for row in documents(locate(SOURCE, candidate.context)):
        ids = torch.tensor([[1, *tokenizer(row["text"], add_special_tokens=False)["input_ids"]]])
        with torch.no_grad():
            nats += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
        words += len(row["text"].split())
        size += len(row["text"].encode())
    assert found["perplexity", "token"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert found["perplexity", "word"] == pytest.approx(math.exp(nats / words), rel=1e-5)
    assert found["perplexity", "nats_per_token"] == pytest.approx(nats / tokens, rel=1e-6)
    assert found["perplexity", "bits_per_byte"] == pytest.approx(nats / size / math.log(2), rel=1e-5)


def test_the_primary_figure_counts_documents(candidate):
    [primary] = [
        row
        for row in measure(Benchmark(task="perplexity", source=SOURCE), candidate).metrics
        if row["primary"]
    ]
    assert (primary["metric"], primary["n"]) == ("token", WORLD.validation_rows)
    assert primary["stderr"] > 0


def test_plain_text_is_split_at_blank_lines(candidate, tmp_path):
    (tmp_path / "book.txt").write_text("the river\nis blue\n\n \nthe town\n\n\n")
    source = DataSource(hub=str(tmp_path), files=("book.txt",))
    rows = documents(locate(source, candidate.context))
    assert [row["text"] for row in rows] == ["the river\nis blue", "the town"]
    assert (
        values(measure(Benchmark(task="perplexity", source=source), candidate).metrics)["perplexity", "token"]
        > 1
    )


def test_a_single_file_is_a_source(candidate, tmp_path):
    (tmp_path / "book.txt").write_text("the river")
    candidate.context.hub_map["my/book"] = str(tmp_path / "book.txt")
    assert len(documents(locate(DataSource(hub="my/book"), candidate.context))) == 1


def test_an_absurd_loss_is_no_number(candidate, monkeypatch):
    from workers.evaluation.scoring import Scored

    monkeypatch.setattr(candidate, "score", lambda requests: [Scored(-1e6, False) for _ in requests])
    found = values(measure(Benchmark(task="perplexity", source=SOURCE), candidate).metrics)
    assert found["perplexity", "token"] is None
    assert found["perplexity", "nats_per_token"] > 1000


def test_a_missing_file_is_named(candidate, tmp_path):
    source = DataSource(hub=str(tmp_path), files=("absent.jsonl",))
    with pytest.raises(BadInput, match=r"none of absent\.jsonl"):
        measure(Benchmark(task="perplexity", source=source), candidate)
