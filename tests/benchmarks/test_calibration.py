"""How well measured attempts foretell others: of each kind in finished workspaces half, at most 48, foretell the rest.

FINISHED=runs python -m pytest tests/benchmarks/test_calibration.py -m benchmark -s

takes workspaces whose grids ran on one kind of machine, with `:` between them.
"""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import pytest

from orchestrator.cost.calibration import Calibration, Sample
from orchestrator.hub import Hub
from orchestrator.measurements import MOST_OF_A_KIND, samples
from results.layout import Workspace

FINISHED = [Path(name) for name in os.environ.get("FINISHED", "").split(":") if name]


def divided(found: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Those that foretell, spread over all of their kind, and those that are foretold."""
    kinds: dict[str, list[Sample]] = {}
    for sample in found:
        kinds.setdefault(sample.likeness.kind, []).append(sample)
    known, others = [], []
    for members in kinds.values():
        count = min(len(members) // 2, MOST_OF_A_KIND)
        places = {number * len(members) // count for number in range(count)}
        for place, sample in enumerate(members):
            (known if place in places else others).append(sample)
    return known, others


def miss(calibration: Calibration, sample: Sample) -> float:
    """By which factor an estimate is too high or too low, at least 1."""
    return math.exp(abs(math.log(calibration.seconds(sample.likeness, sample.counted) / sample.seconds)))


def total(calibration: Calibration, others: Iterable[Sample]) -> float:
    return sum(calibration.seconds(one.likeness, one.counted) for one in others)


@pytest.mark.benchmark
@pytest.mark.skipif(not FINISHED, reason="FINISHED names no finished workspace")
@pytest.mark.parametrize("root", FINISHED, ids=lambda root: root.name)
def test_half_of_the_attempts_foretell_the_others(root: Path) -> None:
    known, others = divided(list(samples(Workspace(root), Hub().model_directory, most=10**9)))
    calibration = Calibration(known)
    measured = sum(one.seconds for one in others)
    print(f"\n{len(known)} attempts foretell {len(others)}: {measured:.0f} s measured, ", end="")
    print(f"{total(Calibration(), others):.0f} s counted, {total(calibration, others):.0f} s with them")
    typical = {
        name: median(miss(one, each) for each in others)
        for name, one in (("counted", Calibration()), ("with them", calibration))
    }
    print(
        "a stage is missed by a factor of "
        + ", ".join(f"{factor:.2f} {name}" for name, factor in typical.items())
    )
    assert typical["with them"] <= typical["counted"]
    assert (
        abs(math.log(total(calibration, others) / measured))
        <= abs(math.log(total(Calibration(), others) / measured)) + 0.1
    )
