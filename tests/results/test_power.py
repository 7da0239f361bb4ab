"""What undecided findings need, from the objects that `yates findings --format json` prints."""

from math import inf, isinf

import pandas as pd
import pytest

from results.power import extensions, more_seeds, needs, power_table
from results.statistics import mean_interval
from results.statistics.power import seeds_for_equality, seeds_for_sign, spread
from results.studies.rendering import as_csv, markdown

SEEN = mean_interval([0.01, 0.05, -0.02, 0.03, 0.02])


def test(claim="> 0", verdict="leans", replicates="5 seeds", **figures):
    found = {name: getattr(SEEN, name) for name in ("mean", "low", "high", "stderr", "df", "n")} | figures
    texts = {"part": "QLoRA", "benchmark": "MMLU", "comparison": "DPO - SFT"}
    return {**texts, **found, "claim": claim, "verdict": verdict, "replicates": replicates}


test.__test__ = False


def finding(*tests, source="store"):
    return {"finding": "F1", "source": source, "tests": list(tests)}


def test_only_undecided_tests_over_seeds_of_the_store_need_any() -> None:
    decided, cells = test(verdict="holds"), test(replicates="4 cells")
    alone = test(replicates="1 seed", n=1)
    found = needs([finding(test(), decided, cells, alone), finding(test(), source="published")])
    assert [(one.finding, one.test) for one in found] == [("F1", "QLoRA MMLU DPO - SFT")]
    assert found[0].cautious > found[0].more == seeds_for_sign(SEEN, 0, spread(SEEN)) - 5 > 0


@pytest.mark.parametrize(
    ("claim", "wanted"),
    [
        ("> 0", seeds_for_sign(SEEN, 0.0, spread(SEEN))),
        ("≥ -0.02", seeds_for_sign(SEEN, -0.02, spread(SEEN))),
        ("< 1e-03", seeds_for_sign(SEEN, 1e-3, spread(SEEN))),
        ("within 0.05", seeds_for_equality(SEEN, 0.05, spread(SEEN))),
        ("below 0.05", seeds_for_sign(SEEN, 0.05, spread(SEEN))),
        ("> 0 somewhere", inf),
    ],
)
def test_a_claim_is_read_as_the_findings_write_it(claim: str, wanted: float) -> None:
    assert more_seeds(SEEN, claim, spread(SEEN)) == max(wanted - 5, 1)


def test_a_missing_figure_needs_what_nobody_knows() -> None:
    (found,) = needs([finding(test(mean=None))])
    assert isinf(found.more) and isinf(found.cautious)


def test_the_command_adds_the_seeds_of_the_largest_plan_within_reach() -> None:
    found = needs([finding(test(), test(claim="> 0.015"), test(claim="> -0.02"))])
    many = [int(one.more) for one in found]
    experiments = pd.DataFrame(
        {"seed": [0, 1, 2, 3, 4], "grid": "grids/a b.yaml", "scale": "tiny", "preset": "default"}
    )
    (one,) = extensions(found, experiments, 20)
    assert one.seeds == max(more for more in many if more <= 20) and one.decided == 2
    assert one.command == f"yates plan 'grids/a b.yaml' --scale tiny --seeds {5 + one.seeds}"
    assert extensions(found, experiments, 0) == []
    assert extensions(found, experiments.drop(columns="seed"), 20) == []
    table = power_table(found, [one], "Undecided")
    assert f"{one.seeds} more seeds, which decide 2 of these 3 tests" in markdown(table)
    assert "more_seeds_cautious" in as_csv(table)
