"""Perplexity in windows against the definition in NumPy, and where the text comes from."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.workers.evaluation.examinee import values
from workers.context import BadInput
from workers.evaluation.answers import Answers
from workers.evaluation.sources import locate
from workers.evaluation.windows import measure, texts, windows
from workers.specs.data import DataSource
from workers.specs.evaluate import Benchmark

LINES = ["the town and the river", "", "a dog in the house of the king", "the blue river"] * 43


@pytest.fixture
def source(tmp_path) -> DataSource:
    (tmp_path / "wiki.txt").write_text("\n".join(LINES))
    return DataSource(hub=str(tmp_path), files=("wiki.txt",))


def losses(candidate, length: int) -> list[np.ndarray]:
    """The negative log-probability of every token but the first, window by window, one window at a time."""
    ids = candidate.encode(["\n\n".join(LINES)], special=False)[0]
    found = []
    for start in range(0, len(ids), length):
        part = torch.tensor([ids[start : start + length]])
        if part.shape[1] > 1:
            with torch.no_grad():
                logits = candidate.model(part).logits[0, :-1].double().log_softmax(-1).numpy()
            found.append(-logits[np.arange(part.shape[1] - 1), part[0, 1:].numpy()])
    return found


def test_the_published_and_the_corrected_figure(candidate, source) -> None:
    """Section 7.1: exp of the mean of window losses; exp of all losses by the number of tokens."""
    found = values(measure(Benchmark(task="windowed_perplexity", source=source), candidate).metrics)
    each = losses(candidate, 128)
    assert len(each) > 3 and len(each[-1]) != len(each[0])
    every = np.concatenate(each)
    task = "windowed_perplexity"
    assert found[task, "legacy"] == pytest.approx(np.exp(np.mean([one.mean() for one in each])), rel=1e-4)
    assert found[task, "token"] == pytest.approx(np.exp(every.mean()), rel=1e-4)
    words = len(" ".join(LINES).split())
    assert np.log(found[task, "word"]) == pytest.approx(every.sum() / words, rel=1e-4)
    assert found[task, "legacy"] != pytest.approx(found[task, "token"], rel=1e-6)


def test_windows_predict_every_token_at_most_once() -> None:
    tokens = list(range(10))
    whole = windows(tokens, 4, 4)
    assert whole == [([0], [1, 2, 3]), ([4], [5, 6, 7]), ([8], [9])]
    sliding = windows(tokens, 4, 2)
    assert sliding == [([0], [1, 2, 3]), ([2, 3], [4, 5]), ([4, 5], [6, 7]), ([6, 7], [8, 9])]
    assert windows(tokens[:9], 4, 4) == [([0], [1, 2, 3]), ([4], [5, 6, 7])], "a last window of one token"


def test_a_shorter_stride_predicts_all_but_the_first(candidate, source) -> None:
    benchmark = Benchmark(task="windowed_perplexity", source=source, stride=64)
    found = {row["metric"]: row for row in measure(benchmark, candidate).metrics}
    assert found["token"]["n"] == found["nats_per_token"]["n"] > len(losses(candidate, 128))
    candidate.answers = Answers()
    with pytest.raises(BadInput, match="a stride of 200 leaves tokens out of windows of 128"):
        measure(benchmark.model_copy(update={"stride": 200}), candidate)


def test_where_texts_come_from(candidate, tmp_path) -> None:
    rows = [{"sentence": "a dog"}, {"sentence": ""}]
    for folder in ("penn/test", "penn/train"):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / folder / "0000.parquet")
    mirror = locate(DataSource(hub=str(tmp_path)), candidate.context)
    assert texts(mirror) == ["a dog", ""]
    (tmp_path / "other").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "other" / "test-00000.parquet")
    with pytest.raises(BadInput, match="several test splits: name the files"):
        texts(mirror)
    (tmp_path / "test.jsonl").write_text(json.dumps({"text": "the town"}))
    assert texts(mirror) == ["the town"]
    (tmp_path / "test.jsonl").write_text(json.dumps({"words": 3}))
    with pytest.raises(BadInput, match="a row has no text; needed: text or sentence"):
        texts(mirror)
