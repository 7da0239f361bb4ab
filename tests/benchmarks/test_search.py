"""Ten seeded searches with successive halving against the full search.

python -m pytest tests/benchmarks/test_search.py -m benchmark -s
"""

import statistics
from pathlib import Path

import pandas as pd
import pytest

import results
from tests.support.commands import ROOT, yates
from tests.support.ray import RayStudy

GRID = ROOT / "grids" / "alignment-tuning.yaml"
SEEDS = "factors.seed=[0, 1, 2, 3, 4]"
STEPS = 81


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_ten_seeded_searches_find_what_the_full_search_finds(tmp_path: Path) -> None:
    """Five seeds of SFT and five of DPO, 27 trials each: regret in standard errors, and the steps that it took."""
    study = RayStudy(tmp_path / "study", sizes=1, seeds=1)
    study.directory.mkdir()
    done = study.yates("submit", GRID, "--on", "ray", "--set", SEEDS)
    assert done.returncode == 0, done.stdout + done.stderr
    study.wait(lambda: over(study.status()), 2400, "the searches to end")
    study.wait_until_quiet(120)
    full = tmp_path / "full"
    assert yates("run", GRID, "-w", full, "--set", SEEDS, timeout=2400).returncode == 0
    found, everything = trials(study.root), trials(full)
    regrets = []
    for group, all_trials in everything.groupby(["kind", "seed"]):
        best = all_trials.loc[all_trials["value"].idxmin()]
        ended = found[(found["kind"] == group[0]) & (found["seed"] == group[1])]
        chosen = ended.loc[ended["value"].idxmin()]
        regrets.append((chosen["value"] - best["value"]) / best["stderr"])
        print(f"\n{group}: {len(ended)} of 27 ended, regret {regrets[-1]:.2f} standard errors", end="")
    share = steps_taken(study.root) / (STEPS * len(everything))
    print(f"\nmedian regret {statistics.median(regrets):.2f} standard errors at {share:.0%} of the steps")
    assert len(regrets) == 10
    assert statistics.median(regrets) <= 1.0
    assert share <= 0.4


def over(answer: dict) -> bool:
    return answer["pending"] + answer["running"] == 0


def trials(root: Path) -> pd.DataFrame:
    """The validation loss of every trial that came to its end, with its standard error."""
    rows = results.metrics(root)
    rows = rows[rows["metric"] == "validation_loss"]
    frame = results.load(root)[["experiment", "seed"]]
    return rows.merge(frame, on="experiment")


def steps_taken(root: Path) -> int:
    attempts = results.attempts(root)
    attempts = attempts[attempts["kind"].isin(["sft", "dpo"])]
    return int(attempts.groupby("stage")["step"].max().sum())
