"""Runs as a factorial analysis sees them: a metric, the factors that vary, and what makes replicates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from results.files import WorkspaceError
from results.schema import FIXED_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

REPLICATES = "seed"
"""The factor whose levels are replicates unless another is named."""

ONE_OF_EACH = ("study", "scale", "preset")
ABSENT = "absent"
"""The level of an experiment that lacks a factor."""


@dataclass(frozen=True)
class Observations:
    """The runs that have `metric`: `values` and, for each factor that varies, their levels.

    `replicates` are the levels of the factor that makes replicates, one a run. `constant` are the factors that have
    one level in all of these runs.
    """

    metric: str
    values: Sequence[float]
    levels: Mapping[str, Sequence[Any]]
    replicates: Sequence[Any]
    constant: Mapping[str, Any]


@dataclass(frozen=True)
class Runs:
    """Finished experiments of one study, scale and preset: a row each, and which columns are factors and metrics."""

    frame: "pd.DataFrame"
    factors: Sequence[str]
    metrics: Sequence[str]

    def observe(self, metric: str, factors: Sequence[str] = (), replicates: str = REPLICATES) -> Observations:
        """The runs that have `metric`, by `factors` (all that vary).

        Raises:
            WorkspaceError: there is no such metric or factor, or no run has it.
        """
        check("metric", [metric], self.metrics)
        check("factor", factors, self.factors)
        mine = self.frame[self.frame[metric].notna()]
        if mine.empty:
            raise WorkspaceError(f"no run has a figure of {metric!r}")
        columns = {name: levels_of(mine, name) for name in factors or self.factors if name != replicates}
        varying = {name: column for name, column in columns.items() if len(set(column)) > 1}
        constant = {name: column[0] for name, column in columns.items() if name not in varying}
        kept = levels_of(mine, replicates) if replicates in self.factors else [ABSENT] * len(mine)
        return Observations(metric, [float(value) for value in mine[metric]], varying, kept, constant)


def runs_of(frame: "pd.DataFrame", factors: Sequence[str]) -> Runs:
    """The rows of `results.load` as runs.

    Raises:
        WorkspaceError: there are none, or they mix studies, scales or presets.
    """
    if frame.empty:
        raise WorkspaceError("there are no experiments to analyse")
    for name in ONE_OF_EACH:
        found = sorted(set(map(str, frame[name])))
        if len(found) > 1:
            raise WorkspaceError(
                f"several kinds of {name} ({', '.join(found)}) do not make one analysis; choose: "
                f"--where '{name} == \"{found[0]}\"'"
            )
    taken = {*FIXED_COLUMNS, *factors}
    numbers = [str(name) for name in frame.select_dtypes("number").columns if name not in taken]
    return Runs(frame, [name for name in factors if name in frame.columns], numbers)


def primary(metrics: Sequence[str]) -> list[str]:
    """The metrics that stand under their task's own name."""
    return [name for name in metrics if "." not in name]


def check(what: str, names: Sequence[str], allowed: Sequence[str]) -> None:
    """Refuse a name that is not one of `allowed`, with the nearest that is.

    Raises:
        WorkspaceError: there is one.
    """
    for name in names:
        if name not in allowed:
            near = get_close_matches(name, allowed, 1)
            meant = f"; did you mean {near[0]!r}? Allowed" if near else "; allowed"
            offered = primary(allowed) if what == "metric" else list(allowed)
            raise WorkspaceError(f"unknown {what} {name!r}{meant}: {', '.join(offered) or 'none'}")


def levels_of(frame: "pd.DataFrame", factor: str) -> list[Any]:
    """The level of each row; a factor that an experiment lacks has the level ABSENT."""
    known = frame[factor].notna()
    return [level if there else ABSENT for level, there in zip(frame[factor], known, strict=True)]
