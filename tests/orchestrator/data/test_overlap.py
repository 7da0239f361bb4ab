"""`yates data overlap`: counts of what training shares with evaluation, and no text."""

import json
from pathlib import Path

from tests.orchestrator.data.conftest import lines, pair

ALIGNMENT = Path(__file__).parents[3] / "grids" / "alignment.yaml"
ONE = 'seed == 0 and model == "mistral-7b" and adapter == "lora" and dataset == "hh-rlhf" and preference == "harmless"'


def test_every_training_set_meets_every_evaluation_set(yates) -> None:
    code, text = yates("data", "overlap", ALIGNMENT, "--where", ONE, "--json")
    report = json.loads(text)
    assert code == 0 and report["problems"] == []
    rows = {row["evaluation"]: row for row in report["rows"]}
    assert {"mmlu", "bbh", "perplexity", "safety", "hh-rlhf harmless (held out)"} <= set(rows)
    assert {row["training"] for row in report["rows"]} == {"hh-rlhf harmless"}
    assert all(row["items"] > 0 for row in rows.values())
    assert rows["mmlu"]["exact"] == 0


def test_shared_prompts_are_counted(yates, grid, tmp_path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "train.jsonl").write_bytes(lines(*map(pair, range(20))))
    (mirror / "test.jsonl").write_bytes(lines(*map(pair, range(18, 24))))
    (tmp_path / "hub.yaml").write_text(json.dumps({"org/pairs": str(mirror)}))
    options = ("--hub-map", tmp_path / "hub.yaml", "--where", 'model == "open"')
    common = ("data", "overlap", grid, *options, "-n", 2)
    code, text = yates(*common, "--set", "pipeline.sft.recipe.preferences.samples=20", "--json")
    assert code == 0
    (row,) = json.loads(text)["rows"]
    assert (row["prompts"], row["items"], row["exact"]) == (20, 6, 2)
    code, text = yates(*common)
    assert code == 0 and "with a 2-gram" in text
    assert "why" not in text and "secret" not in text


def test_a_set_that_cannot_be_read_is_told_and_the_rest_goes_on(yates, grid) -> None:
    code, text = yates("data", "overlap", grid, "--where", 'model == "open"')
    assert code == 1
    assert "problem: evaluation beavertails helpful (held out): " in text
    assert "problem: training beavertails harmless: " in text
