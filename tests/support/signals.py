"""Whether alignment moved what it should, from the store of a finished tiny grid."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import results


@dataclass(frozen=True)
class Signal:
    """The change of one metric from the unaligned model, over seeds: mean and 95 % interval."""

    cell: tuple[str, ...]
    metric: str
    change: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def signals(workspace: Path, metric: str, preference: str) -> list[Signal]:
    """The changes of `metric` in every single-run cell aligned to `preference`.

    The unaligned model is one run, whose own standard error is part of the interval: the seeds' t interval and
    the item error of the base are added in squares.
    """
    frame = results.load(workspace)
    bases = frame[frame["variant"] == "original"].set_index("model")
    singles = frame[(frame["variant"] == "single") & (frame["preference"] == preference)]
    cells = ["model", "dataset", "method", "adapter"]
    return [_signal(key, group, bases.loc[key[0]], metric) for key, group in singles.groupby(cells)]


def _signal(key: tuple[str, ...], group: pd.DataFrame, base: pd.Series, metric: str) -> Signal:
    values = group[metric].to_numpy(float)
    share = float(base[metric])
    count = 98 if metric.startswith("preference") else 64
    base_error = np.sqrt(max(share * (1 - share), 1 / count) / count)
    seed_error = values.std(ddof=1) / np.sqrt(len(values))
    half = stats.t.ppf(0.975, len(values) - 1) * float(np.hypot(seed_error, base_error))
    change = float(values.mean()) - share
    return Signal(key, metric, change, change - half, change + half)
