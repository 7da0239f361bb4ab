"""Effects against statsmodels on balanced and unbalanced designs, by hand, and what a design cannot tell."""

from itertools import product
from math import isnan

import numpy as np
import pandas as pd
import pytest

from results.statistics.factorial import analyse

FACTORS = {"model": ["small", "large", "huge"], "method": ["sft", "dpo"], "data": ["a", "b"]}


def runs(counts, seed=0, factors=FACTORS):
    """Runs of every cell, `counts` of them in turn, with main effects, an interaction and noise."""
    random = np.random.default_rng(seed)
    rows = []
    for cell, levels in enumerate(product(*factors.values())):
        for _ in range(counts[cell % len(counts)]):
            places = [list(each).index(level) for each, level in zip(factors.values(), levels, strict=True)]
            value = (
                0.5
                + 0.1 * places[0]
                - 0.2 * places[1]
                + 0.15 * places[0] * places[1]
                + random.normal(0, 0.05)
            )
            rows.append({**dict(zip(factors, levels, strict=True)), "value": value})
    return pd.DataFrame(rows).sample(frac=1, random_state=seed)


def analysis(frame, order=2):
    return analyse(
        frame["value"].tolist(), {name: frame[name].tolist() for name in frame.columns[:-1]}, order
    )


def reference(frame, order):
    """statsmodels' fit with sum-to-zero contrasts, and its type III table."""
    formula = pytest.importorskip("statsmodels.formula.api")
    from statsmodels.stats.anova import anova_lm

    coded = []
    for name in frame.columns[:-1]:
        levels = list(dict.fromkeys(frame[name]))
        frame = frame.assign(**{name: pd.Categorical(frame[name], levels)})
        coded.append(f"C({name}, Sum)")
    fit = formula.ols(f"value ~ ({' + '.join(coded)})**{order}", frame).fit()
    return fit, anova_lm(fit, typ=3)


def spelled(factors):
    return ":".join(f"C({factor}, Sum)" for factor in factors)


@pytest.mark.parametrize("counts", [(5,), (1, 4, 2, 7, 3), (2, 3)], ids=["balanced", "unbalanced", "uneven"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_effects_and_tests_equal_statsmodels(counts, order):
    frame = runs(counts)
    found, (fit, table) = analysis(frame, order), reference(frame, order)
    assert (found.error_df, found.error) == pytest.approx((fit.df_resid, fit.scale**0.5))
    assert found.mean.mean == pytest.approx(fit.params["Intercept"])
    for term in found.terms:
        row = table.loc[spelled(term.term.split(" × "))]
        assert (term.df, term.f, term.sum_of_squares) == pytest.approx((row["df"], row["F"], row["sum_sq"]))
        assert term.p == pytest.approx(row["PR(>F)"], rel=1e-6)
    bounds = fit.conf_int()
    compared = 0
    for each in found.effects:
        key = ":".join(
            f"C({factor}, Sum)[S.{level}]" for factor, level in zip(each.factors, each.levels, strict=True)
        )
        if key in fit.params:  # statsmodels gives no row for the last level of a factor
            compared += 1
            assert (each.effect.mean, each.effect.stderr) == pytest.approx((fit.params[key], fit.bse[key]))
            assert (each.effect.low, each.effect.high) == pytest.approx(tuple(bounds.loc[key]))
    assert compared == len(fit.params) - 1


def test_marginal_means_equal_statsmodels_predictions_averaged_over_the_cells():
    frame = runs((1, 4, 2, 7, 3))
    found, (fit, _) = analysis(frame), reference(frame, 2)
    cells = pd.DataFrame(list(product(*FACTORS.values())), columns=list(FACTORS))
    cells["predicted"] = fit.predict(cells)
    for each in found.effects:
        if len(each.factors) == 1:
            (factor,), (level,) = each.factors, each.levels
            assert each.mean.mean == pytest.approx(cells.predicted[cells[factor] == level].mean())
            assert each.effect.n == (frame[factor] == level).sum()
        else:
            assert isnan(each.mean.mean)


def test_effects_of_a_term_sum_to_zero_over_each_of_its_factors():
    found = analysis(runs((3, 1)))
    for term in found.terms:
        mine = [each for each in found.effects if each.term == term.term]
        for place, factor in enumerate(mine[0].factors):
            for rest in {each.levels[:place] + each.levels[place + 1 :] for each in mine}:
                total = sum(
                    each.effect.mean
                    for each in mine
                    if each.levels[:place] + each.levels[place + 1 :] == rest
                )
                assert total == pytest.approx(0, abs=1e-12), (term.term, factor)


def test_yates_two_by_two_by_hand():
    """Potash and nitrogen, two plots a cell: effects are half the differences of means, the error is the plots'."""
    levels = {"n": ["-", "-", "+", "+"] * 2, "k": ["-", "+", "-", "+"] * 2}
    found = analyse([10, 12, 20, 26, 12, 14, 22, 24], levels)
    by_level = {(each.term, each.levels): each for each in found.effects}
    assert found.mean.mean == pytest.approx(17.5)
    assert by_level["n", ("+",)].effect.mean == pytest.approx((23 - 12) / 2)
    assert by_level["k", ("+",)].effect.mean == pytest.approx((19 - 16) / 2)
    assert by_level["n × k", ("+", "+")].effect.mean == pytest.approx(((25 - 21) - (13 - 11)) / 4)
    assert (found.error_df, found.error**2) == (4, pytest.approx(8 / 4))
    assert by_level["n", ("+",)].effect.stderr == pytest.approx((2 / 8) ** 0.5)


def test_replicates_tell_whether_the_model_lacks_something():
    """With main effects alone the interaction of model and method is missing, and the error is too large."""
    frame = runs((5,))
    lacking, whole = analysis(frame, 1), analysis(frame, 3)
    assert lacking.lack_of_fit is not None and lacking.lack_of_fit.p < 1e-6
    assert lacking.error > 1.5 * whole.error
    assert whole.lack_of_fit is None
    fine = analysis(frame, 2)
    assert fine.lack_of_fit is not None and fine.lack_of_fit.p > 0.01


def test_one_run_a_cell_with_every_interaction_has_no_error():
    found = analysis(runs((1,)), 3)
    assert found.error_df == 0 and isnan(found.error)
    assert not any(each.effect.known for each in found.effects)
    assert all(isnan(term.p) for term in found.terms)


def test_equal_values_have_no_effect_and_no_test():
    found = analyse([1.0] * 8, {"a": [0, 1] * 4, "b": [0, 0, 1, 1] * 2})
    assert all(each.effect.mean == pytest.approx(0) for each in found.effects)
    assert all(isnan(term.f) for term in found.terms)


def test_an_interaction_with_empty_combinations_is_left_out_and_named():
    frame = runs((3,))
    frame = frame[~((frame.model == "huge") & (frame.method == "dpo"))]
    found = analysis(frame)
    assert found.left_out == {"model × method": "1 of its 6 combinations have no run"}
    assert {term.term for term in found.terms} == {"model", "method", "data", "model × data", "method × data"}


def test_a_factor_that_follows_from_another_is_left_out_and_named():
    frame = runs((3,))
    frame = frame.assign(twin=frame.method.map({"sft": 1, "dpo": 2}))
    found = analysis(frame[["method", "twin", "value"]])
    assert found.left_out["twin"] == "these runs cannot tell it apart from the terms before it"
    assert "combinations have no run" in found.left_out["method × twin"]


@pytest.mark.parametrize(
    ("values", "levels", "said"),
    [
        ([], {"a": []}, "no runs"),
        ([1.0, 2.0], {"a": ["x", "x"]}, "'a' has one level only, 'x'"),
        ([0.0] * 50, {"a": list(range(50)), "b": list(range(50))}, "2499 effects are too many"),
    ],
)
def test_what_cannot_be_analysed_is_refused(values, levels, said):
    with pytest.raises(ValueError, match=said):
        analyse(values, levels)
