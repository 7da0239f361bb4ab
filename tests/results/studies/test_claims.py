"""What is concluded from paired scores, against hand-made numbers."""

import numpy as np
import pytest
from scipy import stats

from results.statistics import mean_interval
from results.studies.alignment.cells import Cell
from results.studies.claims import Setting, conclude, text
from results.studies.pairs import Pairs
from results.studies.statements import Claim

CELL = Cell("mistral-7b", "beavertails", "harmless", "sft", "qlora", "single")


def pairs(left: list[list[float]], right: list[list[float]] | None = None) -> Pairs:
    """Rows are cells, columns are seeds."""
    first = np.asarray(left)
    second = np.zeros_like(first) if right is None else np.asarray(right)
    cells = [CELL._replace(model=f"m{row}") for row in range(len(left))]
    return Pairs(cells, list(range(first.shape[1])), first, second, [], [])


def setting(claim, threshold: float = 0.0, by_seed: bool = True) -> Setting:
    return Setting(claim, threshold, 0.01, by_seed)


def test_replicates_are_seeds_in_a_store_and_cells_in_a_paper() -> None:
    scores = [[0.1, 0.3], [0.2, 0.4], [0.3, 0.5]]
    seeds = conclude(pairs(scores), setting("greater"))
    wanted = mean_interval([0.2, 0.4])
    assert (seeds.effect.mean, seeds.effect.high) == pytest.approx((wanted.mean, wanted.high))
    cells = conclude(pairs(scores), setting("greater", by_seed=False))
    assert cells.effect.mean == pytest.approx(0.3) and cells.effect.n == 3
    assert cells.p == pytest.approx(stats.ttest_1samp([0.2, 0.3, 0.4], 0).pvalue)
    assert (seeds.agree, seeds.compared) == (3, 3)


def test_somewhere_pays_for_every_place_that_was_looked_at() -> None:
    """One of eight cells has p = 0.02: alone it would hold, among eight it leans."""
    clear = [0.5, 1.0, 1.5, 2.0, 0.1]
    raw = stats.ttest_1samp(clear, 0).pvalue
    assert 0.01 < raw < 0.05
    others = [[-1.0, 1.1, -2.0, 0.3, 0.2]] * 7
    alone, among = (
        conclude(pairs(rows), setting("somewhere_greater")) for rows in ([clear], [clear, *others])
    )
    assert (alone.verdict, among.verdict) == ("holds", "leans")
    assert (alone.p, among.p) == pytest.approx((raw, 8 * raw))
    assert (among.agree, among.compared) == (1, 8)
    assert among.effect.mean == pytest.approx(np.mean(clear))
    wide = stats.t.interval(1 - 0.05 / 8, 4, np.mean(clear), stats.sem(clear))
    assert (among.effect.low, among.effect.high) == pytest.approx(wide)


def test_the_best_is_above_the_closest_of_the_others() -> None:
    four_way = [[3.0, 3.2, 3.1]] * 2
    found = conclude(pairs(four_way, [[1.0, 1.1, 1.2], [2.5, 2.6, 2.7]]), setting("best"))
    assert found.effect.mean == pytest.approx(0.5)
    assert (found.verdict, found.agree, found.compared) == ("holds", 1, 1)
    beaten = conclude(pairs(four_way, [[1.0, 1.1, 1.2], [3.5, 3.6, 3.7]]), setting("best"))
    assert (beaten.verdict, beaten.agree) == ("fails", 0)


def test_small_is_of_absolute_differences() -> None:
    opposite = pairs([[0.02, 0.021, 0.019], [-0.0201, -0.021, -0.019]])
    found = conclude(opposite, setting("small"))
    assert found.effect.mean == pytest.approx(0.02, abs=1e-4)
    assert (found.verdict, found.agree) == ("fails", 0)
    assert conclude(opposite, setting("equal")).verdict == "holds"


@pytest.mark.parametrize(
    ("value", "claim", "verdict"),
    [
        (0.5, "greater", "leans"),
        (-0.5, "greater", "undecided"),
        (0.0, "greater", "undecided"),
        (0.0, "at_least", "leans"),
        (0.001, "equal", "leans"),
        (0.5, "equal", "undecided"),
        (0.5, "differs", "undecided"),
        (0.001, "small", "leans"),
        (0.5, "somewhere_greater", "leans"),
    ],
)
def test_replicates_that_are_all_alike_decide_nothing(value: float, claim: Claim, verdict: str) -> None:
    found = conclude(pairs([[value] * 3]), setting(claim))
    assert found.verdict == verdict
    assert (found.effect.mean, found.effect.n) == (value, 3)
    assert not found.effect.known and np.isnan(found.p)


def test_a_correlation_needs_two_cells() -> None:
    assert conclude(pairs([[1.0, 2.0]]), setting("correlated", 0.9)).verdict == "undecided"
    rows = [[value, value + 0.1] for value in (1.0, 2.0, 4.0, 3.0, 5.0, 6.0)]
    other = [[value, value] for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]
    found = conclude(pairs(rows, other), setting("correlated", 0.9))
    assert found.effect.mean == pytest.approx(
        stats.spearmanr([1, 2, 4, 3, 5, 6], [1, 2, 3, 4, 5, 6]).statistic
    )
    assert found.verdict == "leans" and 0.05 < found.p < 0.5


@pytest.mark.parametrize(
    ("claim", "shown"),
    [
        ("greater", "> 0"),
        ("at_most", "≤ 0"),
        ("equal", "within 0.01"),
        ("small", "below 0.01"),
        ("best", "> 0"),
    ],
)
def test_a_claim_in_words(claim, shown: str) -> None:
    assert text(setting(claim)) == shown
    assert text(setting("less", -0.1)) == "< -0.1"


@pytest.mark.parametrize("claim", ["greater", "less", "somewhere_greater", "best"])
def test_where_nothing_differs_hardly_anything_holds(claim) -> None:
    """Five seeds of noise: at most one in forty on each side, within what 400 trials can tell."""
    random = np.random.default_rng(11)
    trials, held = 400, 0
    for _ in range(trials):
        left, right = random.normal(0, 1, (2, 6, 5))
        if claim == "best":
            left = np.repeat(left[:1], 6, axis=0)
        held += conclude(pairs(left.tolist(), right.tolist()), setting(claim)).verdict == "holds"
    assert held / trials < 0.05


def test_equality_is_seldom_found_where_the_difference_is_at_the_margin() -> None:
    random = np.random.default_rng(12)
    trials, held = 400, 0
    for _ in range(trials):
        left = 0.01 + random.normal(0, 0.005, (4, 5))
        held += conclude(pairs(left.tolist()), setting("equal")).verdict == "holds"
    assert 0.02 < held / trials < 0.08


def test_a_real_effect_is_found_most_times() -> None:
    random = np.random.default_rng(13)
    verdicts = [
        conclude(pairs((0.05 + random.normal(0, 0.05, (8, 5))).tolist()), setting("greater")).verdict
        for _ in range(200)
    ]
    assert verdicts.count("holds") > 150
    assert verdicts.count("fails") < 5


def test_divergence_is_a_share_of_runs() -> None:
    every = conclude(pairs([[1.0, 1.0, 1.0]]), setting("diverges"))
    assert (every.verdict, every.effect.mean, every.effect.high) == ("holds", 1.0, 1.0)
    assert every.effect.low == pytest.approx(stats.beta.ppf(0.025, 3, 1))
    assert conclude(pairs([[1.0]]), setting("diverges")).verdict == "leans"
    assert conclude(pairs([[0.0, 0.0]]), setting("diverges")).verdict == "fails"
    assert conclude(pairs([[1.0, 0.0]]), setting("diverges")).verdict == "undecided"


@pytest.mark.parametrize(
    ("left", "claim", "verdict"),
    [
        ([np.inf, np.inf], "greater", "holds"),
        ([np.inf], "greater", "leans"),
        ([np.inf, 0.5], "greater", "leans"),
        ([np.inf, -0.5], "greater", "fails"),
        ([np.inf, 0.0], "equal", "fails"),
        ([np.inf, -9.0], "less", "fails"),
    ],
)
def test_an_infinite_loss_is_above_any_and_has_no_mean(left, claim, verdict: str) -> None:
    found = conclude(pairs([left]), setting(claim))
    assert found.verdict == verdict
    assert not found.effect.known and np.isnan(found.p)


def test_a_rank_correlation_takes_an_infinite_loss_for_the_worst() -> None:
    left, right = [[1.0], [2.0], [np.inf], [3.0]], [[0.1], [0.2], [0.9], [0.3]]
    assert conclude(pairs(left, right), setting("correlated")).effect.mean == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.5, 0.51, 0.49], "holds"),
        ([-0.5, -0.51, -0.49], "holds"),
        ([0.001, -0.001, 0.0], "fails"),
        ([0.5, -0.4, 0.1], "undecided"),
    ],
)
def test_a_difference_of_either_sign(values: list[float], verdict: str) -> None:
    found = conclude(pairs([values]), setting("differs"))
    assert found.verdict == verdict
    assert text(setting("differs")) == "differs from 0"


def test_a_rank_correlation_below_zero() -> None:
    left, right = [[float(value)] for value in range(6)], [[-float(value**2)] for value in range(6)]
    found = conclude(pairs(left, right), setting("anticorrelated"))
    assert found.effect.mean == pytest.approx(-1) and found.verdict == "leans"
    assert conclude(pairs(left, left), setting("anticorrelated")).verdict == "fails"
    assert text(setting("anticorrelated")) == "< 0"


def test_differences_in_per_cent_of_the_other_side() -> None:
    found = Pairs(
        [CELL], [0, 1], np.asarray([[33.0, 44.0]]), np.asarray([[30.0, 40.0]]), [], [], relative=True
    )
    assert found.differences.tolist() == [pytest.approx([10.0, 10.0])]
