"""Where the files of known data sets usually lie: on the hub, in mirrors, in the embedded world. Light to import."""

import re

LAYOUTS: dict[str, tuple[str, ...]] = {
    "hh-rlhf": (
        "hh-rlhf/{preference}-base/{split}.jsonl.gz",
        "{preference}-base/{split}.jsonl.gz",
        "{preference}-base/{split}.jsonl",
        "*{preference}-base*{split}.json*",
    ),
    "beavertails": (
        "pku-saferlhf/{split}.jsonl",
        "round0/{split}.jsonl.xz",
        "{split}.jsonl",
        "data/{split}.jsonl",
        "data/*/{split}.jsonl",
        "data/{split}*.parquet",
    ),
}
"""Of preference data, by name; `round0/` is that of PKU-SafeRLHF before June 2024."""

INSTRUCTION_LAYOUTS = ("instructions/{split}.jsonl", "{split}.jsonl", "data/{split}*.parquet", "*.json")
TEXT_LAYOUTS = ("pretrain/{split}.jsonl", "{split}.jsonl", "{split}.txt", "data/{split}*.parquet")


def opened(name: str) -> str:
    """A layout as a pattern that matches every split and preference."""
    return re.sub(r"\*+", "*", re.sub(r"\{(split|preference)\}", "*", name))
