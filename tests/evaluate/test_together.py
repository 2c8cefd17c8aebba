"""Shared-draw statistics against one-at-a-time ones, exact enumeration, scipy, and hand-made cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from pairwright.evaluate.intervals import bootstrap, compare, mean
from pairwright.evaluate.together import Together, holm

RNG = np.random.default_rng(0)
K, S, N = 3, 4, 60
SCORES = (RNG.random((K, S, N)) < np.array([0.5, 0.7, 0.55])[:, None, None]).astype(float)
GROUPS = [f"g{i // 2}" for i in range(N)]


def test_values_and_intervals_agree_with_the_bootstrap_of_one():
    many = Together({"": SCORES}, {"": GROUPS}, draws=8000)
    low, high = many.interval("")
    assert many.value[""] == pytest.approx(SCORES.mean((1, 2)))
    for k in range(K):
        one = bootstrap(mean(SCORES[k].ravel()), GROUPS * S, run_M=np.repeat(np.arange(S), N), draws=8000)
        assert (low[k], high[k]) == pytest.approx((one.low, one.high), abs=0.012)


def test_differences_and_p_values_agree_with_the_paired_test_of_one():
    many = Together({"": SCORES}, {"": GROUPS}, draws=4000)
    diff, _, _ = many.difference("", 0)
    p = many.p_values("", 0)
    for k in (1, 2):
        one = compare(SCORES[0].mean(0), SCORES[k].mean(0), GROUPS, draws=8000)
        assert diff[k] == pytest.approx(one.value)
        assert p[k] == pytest.approx(one.p_permutation, abs=0.02)
    assert (diff[0], p[0]) == (0, 1)


def test_p_is_that_of_all_sign_flips_and_of_scipy():
    a, b = RNG.random((2, 8))
    exact = np.mean([abs(np.dot(f, b - a)) >= abs((b - a).sum()) - 1e-12 for f in itertools.product((-1, 1), repeat=8)])
    theirs = stats.permutation_test((b - a,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    ours = Together({"": np.stack([a, b])[:, None]}, {"": list("abcdefgh")}, draws=20000).p_values("", 0)[1]
    assert exact == pytest.approx(theirs)
    assert ours == pytest.approx(exact, abs=0.01)


def test_items_of_one_group_flip_and_are_drawn_together():
    score = np.array([[0.0] * 6, [1.0, 1, 1, 0, 0, 0]])[:, None]
    apart = Together({"": score}, {"": list("abcdef")})
    joint = Together({"": score}, {"": list("aaabbb")})
    assert joint.p_values("", 0)[1] == 1.0  # one group of three wins: either sign is as extreme
    assert apart.p_values("", 0)[1] == pytest.approx(0.25, abs=0.04)  # three of three signs agree
    assert np.subtract(*joint.interval("")[::-1])[1] > np.subtract(*apart.interval("")[::-1])[1]


def test_derived_scores_are_derived_draw_by_draw():
    exams = {"a": SCORES, "b": SCORES[:, :, ::-1] * 0.5}
    many = Together(exams, {"a": GROUPS, "b": GROUPS}, lambda v: {"sum": v["a"] + v["b"]}, draws=500)
    assert many.value["sum"] == pytest.approx(1.5 * SCORES.mean((1, 2)))
    assert many.draw["sum"] == pytest.approx(many.draw["a"] + many.draw["b"])
    assert many.p_values("sum", 0)[0] == 1
    better = many.p_values("sum", 0)[1]
    assert 0 < better < 0.05


def test_nothing_wrong_gets_the_binomial_limit():
    many = Together({"": np.ones((1, 2, 10))}, {"": list("abcdefghij")})
    low, high = many.interval("")
    assert high[0] == 1
    assert low[0] == pytest.approx(stats.binomtest(10, 10).proportion_ci().low)


def test_seeds_widen_the_interval():
    lucky = np.repeat(np.array([0.2, 0.8])[:, None], N, 1)[None]
    steady = np.full((1, 2, N), 0.5)
    width = lambda s: np.subtract(*Together({"": s}, {"": GROUPS}).interval("")[::-1])[0]
    assert width(lucky) == pytest.approx(0.6)
    assert width(steady) == 0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
