"""The real rows whose lengths `orchestrator.cost.lengths` states, and how they are measured."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml

from workers.data.beavertails import paired_answers
from workers.data.dialogues import Pair, Unusable
from workers.data.hh import hh_pair
from workers.data.rows import read_rows

Count = Callable[[Sequence[str]], np.ndarray]
"""From texts to their numbers of tokens."""


def real_assets() -> Path:
    """The folder of real data beside the project; the test is skipped without it."""
    found = Path(__file__).resolve().parents[4] / "shared" / "assets"
    if not found.is_dir():
        pytest.skip("needs ../shared/assets, which is not part of the project")
    return found


def gpt2_counts(assets: Path) -> Count:
    """Counts by GPT-2's tokenizer."""
    from tokenizers import ByteLevelBPETokenizer

    folder = assets / "tokenizer-gpt2"
    tokenizer = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    return lambda texts: np.array([len(tokenizer.encode(text).ids) for text in texts])


def sentencepiece_counts(path: Path) -> Count:
    """Counts by a SentencePiece model, such as Mistral's."""
    sentencepiece = pytest.importorskip("sentencepiece")
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return lambda texts: np.array([len(ids) for ids in tokenizer.encode(list(texts))])


def preference_pairs(assets: Path) -> dict[str, list[Pair]]:
    """The real preference pairs by the names of `orchestrator.cost.lengths`."""
    folder = assets / "preference"
    return {
        "HH_HARMLESS": list(_dialogues(folder / "hh-rlhf.harmless-base.test.jsonl.gz")),
        "HH_HELPFUL": list(_dialogues(folder / "hh-rlhf.helpful-base.test.json")),
        "BEAVERTAILS": paired_answers(read_rows(folder / "pku-saferlhf.mini.csv"), "harmless")[0],
    }


def _dialogues(path: Path) -> Iterator[Pair]:
    for row in read_rows(path):
        try:
            yield hh_pair(row)
        except Unusable:
            continue


def pair_counts(pairs: Sequence[Pair], count: Count) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of the prompt with the chosen answer, and with the longer one, without any template."""
    turns = [
        " ".join([*(f"{turn.prompt} {turn.response}" for turn in one.history), one.prompt]) for one in pairs
    ]
    prompt, chosen, rejected = (
        count(texts) for texts in (turns, [one.chosen for one in pairs], [one.rejected for one in pairs])
    )
    return prompt + chosen, prompt + np.maximum(chosen, rejected)


def other_texts(assets: Path) -> dict[str, list[str]]:
    """Instructions with their answers, and the questions of the benchmarks."""
    alpaca = json.loads((assets / "instruction" / "alpaca.5000.json").read_text())
    return {
        "ALPACA": [f"{row['instruction']}\n{row['input']}{row['output']}" for row in alpaca],
        "MMLU": list(_mmlu(assets / "eval" / "mmlu" / "test")),
        "BBH": [f"Q: {row['input']}\nA:" for _, row in _bbh(assets)],
    }


def bbh_shots(assets: Path) -> list[str]:
    """What stands before each BBH question: its task's description and three examples, as lm-eval writes them."""
    folder = Path((find_spec("lm_eval").submodule_search_locations or [""])[0]) / "tasks" / "bbh" / "fewshot"  # type: ignore[union-attr]
    known: dict[str, str] = {}
    for task, _ in _bbh(assets):
        if task not in known:
            settings = yaml.safe_load((folder / f"{task}.yaml").read_text())
            samples = settings["fewshot_config"]["samples"]
            shots = "".join(f"Q: {one['input']}\nA: {one['target']}\n\n" for one in samples)
            known[task] = settings["description"] + shots
    return [known[task] for task, _ in _bbh(assets)]


def _bbh(assets: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for path in sorted((assets / "eval" / "bbh").glob("*.json")):
        for row in json.loads(path.read_text())["examples"]:
            yield path.stem, row


def _mmlu(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as stream:
            for question, *choices, _ in csv.reader(stream):
                options = "".join(f"\n{letter}. {text}" for letter, text in zip("ABCD", choices, strict=True))
                yield f"{question.strip()}{options}\nAnswer:"


def twentieths(counts: np.ndarray) -> list[int]:
    """The means of twenty equal parts, shortest first."""
    return [round(float(part.mean())) for part in np.array_split(np.sort(counts), 20)]
