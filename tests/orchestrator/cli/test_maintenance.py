"""`yates verify`, `gc`, `compact` as a user reads them."""

import pandas as pd
import pytest

import results
from tests.orchestrator.lab import Lab, stage_id


@pytest.fixture
def finished(lab: Lab) -> Lab:
    """One experiment done, the outputs in order."""
    lab.finish("base", "train-sft-0", "eval-sft-0")
    return lab


def test_verify_of_a_sound_workspace(yates, finished: Lab) -> None:
    assert yates("verify", "-w", finished.workspace.root) == (
        0,
        "3 stages, 3 commits and 0 checkpoints checked: 0 problems, 0 repairs\n",
    )


def test_verify_names_each_problem_and_exits_with_one(yates, finished: Lab) -> None:
    finished.workspace.done_file(stage_id("base")).unlink()
    assert yates("verify", "-w", finished.workspace.root) == (
        1,
        f"stage {stage_id('base')}: in a journal, but without a sound done.json\n"
        "3 stages, 2 commits and 0 checkpoints checked: 1 problems, 0 repairs\n",
    )


def test_repair_says_what_it_did_and_exits_with_zero(yates, finished: Lab) -> None:
    finished.workspace.done_file(stage_id("eval-sft-0")).unlink()
    assert yates("verify", "--repair", "-w", finished.workspace.root) == (
        0,
        f"stage {stage_id('eval-sft-0')}: struck from the index\n"
        "3 stages, 2 commits and 0 checkpoints checked: 1 problems, 1 repairs\n",
    )


def test_repair_brings_the_store_in_line_with_the_truth(yates, finished: Lab) -> None:
    yates("compact", "-w", finished.workspace.root)
    finished.workspace.done_file(stage_id("eval-sft-0")).unlink()
    yates("verify", "--repair", "-w", finished.workspace.root)
    stored = pd.read_parquet(finished.workspace.store / "latest" / "experiments.parquet")
    assert set(stored["status"]) == {"pending"}


def test_compact_publishes_what_was_committed(yates, finished: Lab) -> None:
    assert yates("compact", "-w", finished.workspace.root) == (0, "")
    stored = pd.read_parquet(finished.workspace.store / "latest" / "experiments.parquet")
    assert sorted(stored["status"]) == ["done", "pending", "pending", "pending"]
    assert len(results.load(finished.workspace.root)) == 4


def garbage(lab: Lab) -> None:
    lab.finish("of another grid")
    won = lab.finish("train-dpo-0")
    lab.checkpoint(won, 10)


def test_gc_lists_the_largest_first_with_reasons_and_removes_nothing_unasked(yates, finished: Lab) -> None:
    garbage(finished)
    code, text = yates("gc", "--dry-run", "-w", finished.workspace.root)
    spent, unneeded, total = text.splitlines()
    assert code == 0
    assert "of another grid" not in text
    assert spent.endswith("(no plan needs this stage)") and unneeded.endswith("(the stage is finished)")
    assert total.startswith("2 directories, ") and total.endswith(" kB")
    assert len(finished.view().index.done) == 5


@pytest.mark.parametrize(("answer", "left"), [("y\n", 4), ("n\n", 5), ("\n", 5)])
def test_gc_asks(yates, finished: Lab, answer: str, left: int) -> None:
    garbage(finished)
    _, text = yates("gc", "-w", finished.workspace.root, answer=answer)
    assert "Remove them? [y/N]" in text
    assert ("removed " in text) == (left == 4)
    assert len(finished.done()) == left


def test_gc_does_not_ask_with_yes_and_is_silent_when_there_is_nothing(yates, finished: Lab) -> None:
    garbage(finished)
    _, text = yates("gc", "--yes", "-w", finished.workspace.root)
    assert "Remove them?" not in text and "removed " in text
    assert yates("gc", "-w", finished.workspace.root) == (0, "0 directories, 0 B\n")


def test_dry_run_wins_over_yes(yates, finished: Lab) -> None:
    garbage(finished)
    yates("gc", "--dry-run", "--yes", "-w", finished.workspace.root)
    assert len(finished.done()) == 5


def test_gc_shows_twenty_and_counts_all(yates, lab: Lab) -> None:
    lab.finish(*(f"old {number}" for number in range(25)))
    _, text = yates("gc", "--dry-run", "-w", lab.workspace.root)
    lines = text.splitlines()
    assert len(lines) == 21 and lines[-1].startswith("25 directories, ")
