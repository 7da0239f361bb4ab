"""The token lengths that the cost model states, measured anew on the real rows.

By default with GPT-2's tokenizer. `TOKENIZER=FILE` takes a SentencePiece model, such as the one of Mistral 7B v0.1
that the package mistral-common ships as `tokenizer.model.v1`; that needs the package sentencepiece.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from orchestrator.cost import lengths
from tests.orchestrator.cost.measured_lengths import (
    bbh_shots,
    gpt2_counts,
    other_texts,
    pair_counts,
    preference_pairs,
    real_assets,
    sentencepiece_counts,
    twentieths,
)


@pytest.mark.benchmark
def test_stated_lengths_are_those_of_the_real_rows() -> None:
    assets = real_assets()
    chosen = os.environ.get("TOKENIZER")
    count = sentencepiece_counts(Path(chosen)) if chosen else gpt2_counts(assets)
    tolerance = 0.01 if chosen else 0.12
    print()
    for name, pairs in preference_pairs(assets).items():
        stated = getattr(lengths, name)
        for side, found in zip(("chosen", "longer"), pair_counts(pairs, count), strict=True):
            _compare(f"{name} {side}", found, getattr(stated, side).mean, tolerance)
        turns = float(np.mean([len(pair.history) + 1 for pair in pairs]))
        assert turns == pytest.approx(stated.turns, rel=0.05)
    texts = other_texts(assets)
    for name, rows in texts.items():
        _compare(name, count(rows), getattr(lengths, name).mean, tolerance)
    shots = (count(bbh_shots(assets)).mean()) / 3
    print(f"BBH: {shots:.1f} a shot")
    assert shots == pytest.approx(lengths.BBH_SHOT, rel=tolerance + 0.02)


def _compare(name: str, found: np.ndarray, stated: float, tolerance: float) -> None:
    print(f"{name}: {len(found)} rows, mean {found.mean():.1f}, twentieths {twentieths(found)}")
    assert found.mean() == pytest.approx(stated, rel=tolerance)
