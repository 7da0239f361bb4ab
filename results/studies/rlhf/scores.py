"""The study's scores: of a store, or of the published figures."""

from collections.abc import Mapping
from math import inf
from typing import Any

from results.studies import scores
from results.studies.benchmarks import as_measured
from results.studies.measurements import Measurements
from results.studies.memory import remembered
from results.studies.published import published_rows
from results.studies.readings import best, nearest
from results.studies.rlhf.benchmarks import benchmarks
from results.studies.rlhf.cells import FULL, Cell, printed_arm
from results.studies.rlhf.resources import put_resources
from results.studies.rlhf.settings import with_settings
from results.studies.scores import Score, logged_curves

Scores = scores.Scores[Cell]

HORIZON = 180.0
"""The last PPO step of the published figure, which its steps are shares of."""
AT = 100.0
WINDOW = 5
"""The true KL of a checkpoint is the mean over so many rollouts up to it."""

PRINTED = {
    "win_rate_simulated": "simulated",
    "win_rate_human": "human",
    "win_rate_leaderboard_v0": "leaderboard",
    "win_rate_alpacaeval1": "alpacaeval1",
    "factscore_retrieval_chatgpt": "factscore",
    "gpus": "gpus",
    "trainable_share": "trainable_share",
    "time_to_published_results": "hours_100",
}
READ = "read from a figure"
STEPS, KL = "ppo_step", "token_true_kl_nats"


@remembered
def store_scores(found: Measurements, curves: bool = False) -> Scores:
    """The scores of a workspace; with `curves` also what training logged, and the win rate by true KL."""
    of = with_settings(found)
    mine = scores.store_scores(found, of, benchmarks())
    mine.steps = max((line[-1].step for line in _lines(mine, "win_rate")), default=None)
    for cell, lines in mine.snapshots.get("win_rate", {}).items():
        for seed, line in lines.items():
            _read(mine, cell, seed, line)
    put_resources(found, mine, of)
    if curves:
        for name, cell, seed, line in logged_curves(found, mine, of):
            mine.put_curve(name, cell, seed, line)
        _put_by_kl(mine)
    return mine


def _lines(mine: Scores, benchmark: str) -> list[list[Score]]:
    return [line for lines in mine.snapshots.get(benchmark, {}).values() for line in lines.values()]


def _read(mine: Scores, cell: Cell, seed: int, line: list[Score]) -> None:
    """The best of a run's checkpoints, and the one as far along as step 100 of the published runs."""
    top = best(line, 0.0)
    there = nearest(line, AT / HORIZON, mine.steps or HORIZON)
    if top is not None and there is not None:
        mine.put("best_win_rate", cell, seed, Score(top))
        mine.put("win_rate_100", cell, seed, Score(there.value, there.stderr, there.items))


def _put_by_kl(mine: Scores) -> None:
    """The win rate of each checkpoint over the true KL of the rollouts up to it, in the order of checkpoints."""
    for cell, lines in list(mine.snapshots.get("win_rate", {}).items()):
        for seed, line in lines.items():
            logged = mine.curves("true_kl", cell).get(seed, [])
            points = []
            for score in line:
                near = [each.value for each in logged if score.step - WINDOW < each.step <= score.step]
                if near:
                    points.append(Score(score.value, score.stderr, score.items, sum(near) / len(near)))
            if points:
                mine.put_curve("by_kl", cell, seed, points)
                mine.put("by_kl", cell, seed, points[-1])


def published_scores() -> Scores:
    """The published figures, with a remark where one is read from a drawing, an upper bound or computed."""
    names = {name: as_measured(name, one, [one.measures.task]) for name, one in benchmarks().items()}
    mine: Scores = Scores("published", names, {}, title="published figures", steps=HORIZON)
    lines: dict[tuple[str, Cell], list[Score]] = {}
    for row in published_rows("rlhf"):
        _take(mine, lines, row, printed_arm(row["arm"]))
    for (name, cell), line in lines.items():
        mine.put_curve(name, cell, 0, line)
        mine.put(name, cell, 0, line[-1])
        mine.remarks[name, cell] = READ
        if name == "win_rate":
            there = nearest(line, AT / HORIZON, HORIZON)
            assert there is not None
            _put(mine, "win_rate_100", cell, Score(there.value), READ)
        else:
            top = max(each.value for each in line)
            _put(mine, "best_win_rate", cell, Score(top), READ)
            end = max(each.step for each in line)
            _put(mine, "true_kl", cell, Score(end), "the right end of the line in a figure")
    _put(mine, "gpus", Cell(FULL, reward_data="human"), Score(8.0), "")
    return mine


Row = Mapping[str, Any]


def _take(mine: Scores, lines: dict[tuple[str, Cell], list[Score]], row: Row, cell: Cell) -> None:
    mine.planned.setdefault(cell, {0})
    value = float(row["value"])
    if row["metric"] != "win_rate_vs_davinci003":
        name = PRINTED.get(row["metric"])
        stderr = float(row["half_width"]) if row["half_width"] else None
        if name is not None:
            remark = "an upper bound" if name == "hours_100" else ""
            _put(mine, name, cell, Score(value, stderr), remark)
        return
    if row["x_name"] == "none":
        _put(mine, "win_rate", cell, Score(value, step=inf), READ)
        return
    name = {STEPS: "win_rate", KL: "by_kl"}[row["x_name"]]
    lines.setdefault((name, cell), []).append(Score(value, step=float(row["x"])))


def _put(mine: Scores, benchmark: str, cell: Cell, score: Score, remark: str) -> None:
    mine.planned.setdefault(cell, {0})
    mine.put(benchmark, cell, 0, score)
    if remark:
        mine.remarks[benchmark, cell] = remark
