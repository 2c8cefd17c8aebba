"""The abstention threshold against scipy's binomial law, a slow loop, and its own promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta, binom

from pairwright.audit.calibrate.abstain import Abstain, binomial_tail


@pytest.mark.parametrize(("k", "n", "p"), [(0, 22, 0.1), (3, 50, 0.05), (50, 50, 0.3), (90, 1000, 0.1)])
def test_the_tail_is_scipys(k, n, p):
    assert binomial_tail(k, n, p) == pytest.approx(float(binom.cdf(k, n, p)), rel=1e-9)


def test_the_threshold_is_that_of_a_slow_loop_over_clopper_pearson_bounds():
    rng = np.random.default_rng(0)
    for risk in (0.05, 0.2):
        p = rng.beta(4, 1, 400)
        right = rng.random(400) < p
        order = np.argsort(-p)
        best = math.inf
        for k in range(20, 401, 20):
            errors = int((~right[order[:k]]).sum())
            if k < math.log(0.1) / math.log(1 - risk):
                continue
            if beta.ppf(0.9, errors + 1, k - errors) > risk:  # the upper Clopper-Pearson bound
                break
            best = p[order[k - 1]]
        assert Abstain(risk).fit(p, right).threshold_ == best


def test_the_promise_is_kept_in_nine_of_ten_draws():
    rng = np.random.default_rng(1)
    broken = 0
    for _ in range(300):
        p = rng.beta(3, 1, 150)
        a = Abstain(risk=0.1).fit(p, rng.random(150) < p)
        if math.isfinite(a.threshold_):
            # confidence is the chance to be right, so the true risk above t is the mean of 1 - p there: Beta(3, 1) by quadrature
            grid = np.linspace(a.threshold_, 1, 2001)
            w = beta.pdf(grid, 3, 1)
            broken += float((w * (1 - grid)).sum() / w.sum()) > 0.1
    assert broken / 300 <= 0.1 + 0.03


def test_too_few_rows_promise_nothing_and_a_perfect_classifier_answers_all():
    a = Abstain(risk=0.1).fit([0.9] * 21, [True] * 21)
    assert (a.threshold_, a.coverage_) == (math.inf, 0.0)
    assert not a.answers([1.0]).any()
    a = Abstain(risk=0.1).fit(np.linspace(0.5, 1, 100), [True] * 100)
    assert (a.threshold_, a.coverage_) == (0.5, 1.0)
    assert Abstain().fit([], []).threshold_ == math.inf


def test_equal_confidences_are_answered_together():
    a = Abstain(risk=0.3).fit([0.9] * 50 + [0.8] * 50, [True] * 50 + [True] * 49 + [False])
    assert (a.threshold_, a.coverage_, a.errors_) == (0.8, 1.0, 1)


def test_bad_input():
    for bad in ({"risk": 0.0}, {"delta": 1.0}, {"steps": 0}):
        with pytest.raises(ValueError):
            Abstain(**bad).fit([0.5], [True])
    with pytest.raises(ValueError, match="one confidence"):
        Abstain().fit([0.5, 0.2], [True])
    with pytest.raises(ValueError, match="NaN"):
        Abstain().fit([float("nan")], [True])
    with pytest.raises(ValueError, match="not fitted"):
        Abstain().answers([0.5])
