"""Intervals against closed forms and slow loops; paired tests against exact enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from pairwright.evaluate.intervals import bootstrap, calibration, compare, macro, mean
from pairwright.metrics.calibration_error import ece

RNG = np.random.default_rng(0)


def test_binomial_interval_agrees_with_the_normal_closed_form():
    hits = np.array([1.0] * 300 + [0.0] * 100)
    est = bootstrap(mean(hits), np.arange(400), draws=4000)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert est.value == 0.75
    assert est.low == pytest.approx(0.75 - half, abs=0.005)
    assert est.high == pytest.approx(0.75 + half, abs=0.005)
    assert (est.n, est.groups) == (400, 400)


def test_coverage_of_the_95_percent_interval_is_about_95_percent():
    covered = 0
    for seed in range(300):
        x = np.random.default_rng(seed).random(120) < 0.4
        est = bootstrap(mean(x), np.arange(120), draws=400, seed=seed)
        covered += est.low <= 0.4 <= est.high
    assert 0.91 <= covered / 300 <= 0.98


def test_copies_within_a_group_do_not_narrow_the_interval():
    hits = (RNG.random(150) < 0.6).astype(float)
    alone = bootstrap(mean(hits), np.arange(150), draws=3000)
    copied = bootstrap(mean(np.repeat(hits, 8)), np.repeat(np.arange(150), 8), draws=3000)
    naive = bootstrap(mean(np.repeat(hits, 8)), np.arange(1200), draws=3000)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.08)
    assert (naive.high - naive.low) / (alone.high - alone.low) == pytest.approx(1 / math.sqrt(8), rel=0.1)


def test_unequal_clusters_agree_with_a_slow_cluster_bootstrap():
    sizes = RNG.integers(1, 9, 60)
    group = np.repeat(np.arange(60), sizes)
    x = RNG.normal(size=60)[group] + 0.2 * RNG.normal(size=len(group))
    draws = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(group == g) for g in RNG.integers(0, 60, 60)])
        draws.append(x[rows].mean())
    est = bootstrap(mean(x), group, draws=4000)
    width = est.high - est.low
    assert [est.low, est.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.05 * width)


def test_runs_are_resampled_so_their_luck_widens_the_interval():
    """values = run effect + noise: the variance of the mean is var(run)/S + var(noise)/(S G)."""
    effects = RNG.normal(size=8)
    values = (effects[:, None] + 0.1 * RNG.normal(size=(8, 200))).ravel()
    runs, groups = np.repeat(np.arange(8), 200), np.tile(np.arange(200), 8)
    fixed, crossed = bootstrap(mean(values), groups), bootstrap(mean(values), groups, run_M=runs, draws=4000)
    half = 1.96 * effects.std() / math.sqrt(8)
    assert (crossed.high - crossed.low) / 2 == pytest.approx(half, rel=0.15)
    assert fixed.high - fixed.low < 0.2 * half


@pytest.mark.parametrize(("hits", "low", "high"), [(1.0, 0.025 ** (1 / 50), 1.0), (0.0, 0.0, 1 - 0.025 ** (1 / 50))])
def test_nothing_failed_gives_the_exact_binomial_limit(hits, low, high):
    est = bootstrap(mean(np.full(50, hits)), np.arange(50))
    assert (est.low, est.high) == (pytest.approx(low), pytest.approx(high))


def test_one_group_has_no_interval_and_nothing_is_an_error():
    est = bootstrap(mean([0.2, 0.4]), ["a", "a"])
    assert (est.value, est.low, est.high) == (pytest.approx(0.3), None, None)
    with pytest.raises(ValueError, match="no items"):
        bootstrap(mean([]), [])


def test_macro_and_calibration_statistics_equal_their_definitions():
    y = RNG.integers(0, 5, 200)
    right = RNG.random(200) < 0.3 + 0.1 * y
    weights = RNG.integers(0, 3, (1, 200)).astype(float)
    rows = np.repeat(np.arange(200), weights[0].astype(int))
    by_class = [right[rows][y[rows] == c].mean() for c in range(5)]
    assert macro(right, y)(weights)[0] == pytest.approx(np.mean(by_class))
    probs = RNG.dirichlet(np.ones(4), 200)
    labels = RNG.integers(0, 4, 200)
    statistic = calibration(probs.max(1), probs.argmax(1) == labels, bins=15)
    assert statistic(np.ones((1, 200)))[0] == pytest.approx(ece(probs, labels, bins=15))
    assert statistic(weights)[0] == pytest.approx(ece(probs[rows], labels[rows], bins=15))


def test_the_draws_depend_on_the_seed_alone_not_on_block_borders(monkeypatch):
    x, groups = RNG.normal(size=90), np.repeat(np.arange(30), 3)
    whole = bootstrap(mean(x), groups, draws=200, seed=3)
    assert bootstrap(mean(x), groups, draws=200, seed=3) == whole
    assert bootstrap(mean(x), groups, draws=200, seed=4) != whole
    monkeypatch.setattr("pairwright.evaluate.intervals._BLOCK_CELLS", 90 * 7)
    blocks = bootstrap(mean(x), groups, draws=200, seed=3)
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=1e-12)


def test_permutation_p_equals_full_enumeration_of_sign_flips():
    d = np.array([0.9, 0.4, -0.1, 0.7, 0.3, 0.5, -0.2, 0.6, 0.2, 0.1])
    exact = np.mean([abs(np.dot(s, d)) >= abs(d.sum()) - 1e-12 for s in itertools.product((-1, 1), repeat=10)])
    found = compare(np.zeros(10), d, np.arange(10), draws=20000)
    assert found.p_permutation == pytest.approx(exact, abs=0.004)
    assert found.value == pytest.approx(d.mean())
    assert found.low < found.value < found.high


def test_equal_systems_differ_at_p_05_in_about_5_percent_of_trials():
    false = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        a, b = (rng.random((2, 80)) < 0.5).astype(float)
        false += compare(a, b, np.arange(80), draws=300, seed=seed).p_permutation < 0.05
    assert false / 200 <= 0.1
    same = compare(np.ones(9), np.ones(9), np.arange(9))
    assert (same.value, same.p_permutation, same.p_bootstrap) == (0.0, 1.0, 1.0)
