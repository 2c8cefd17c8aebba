"""The parts of adapt: thresholds, calibration of sigmoids, the extrapolated curve, several classes an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_score

from pairwright.core.features import Features
from pairwright.data.world.simulate import simulate
from pairwright.recipes.adapt import portfolio
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.confusion import confusion_svg, confusions
from pairwright.recipes.adapt.curve import extrapolate
from pairwright.recipes.adapt.kinds import AnyOf, OneOf, best_thresholds
from pairwright.recipes.adapt.learn import Wish, learn

rng = np.random.default_rng(0)


def test_thresholds_have_the_best_f1_of_all_thresholds():
    p, y = torch.from_numpy(rng.random((60, 3)).round(1)), torch.from_numpy(rng.integers(0, 2, (60, 3)))
    got = best_thresholds(p, y)
    for c in range(3):
        best = max(f1_score(y[:, c], p[:, c] >= t) for t in np.linspace(0, 1, 21))
        assert f1_score(y[:, c], p[:, c] >= got[c]) == pytest.approx(best)


def test_thresholds_reach_a_precision_or_are_never_met():
    y = torch.tensor([[1, 0], [1, 0], [0, 0], [1, 1], [0, 0]])
    p = torch.tensor([[0.9, 0.9], [0.8, 0.8], [0.7, 0.7], [0.6, 0.6], [0.5, 0.5]], dtype=torch.float64)
    got = best_thresholds(p, y, 0.75)
    assert got[0] == 0.6
    assert precision_score(y[:, 0], p[:, 0] >= got[0]) >= 0.75
    assert got[1] > 1
    assert best_thresholds(p, torch.zeros(5, 2, dtype=torch.int64)).tolist() == [0.5, 0.5]


def test_platt_scaling_is_sklearns_logistic_regression():
    x = torch.from_numpy(rng.standard_normal((400, 2)) * 5 + 1)
    y = (torch.from_numpy(rng.random((400, 2))) < torch.sigmoid(0.4 * x - 1)).long()
    a, b = AnyOf().calibrate(x, y)
    model = LogisticRegression(C=1e6, tol=1e-8).fit(x.reshape(-1, 1), y.flatten())
    assert (a, b) == pytest.approx((float(model.coef_[0, 0]), float(model.intercept_[0])), rel=1e-2)


def test_f1_of_a_row_is_sklearns():
    y, p = torch.from_numpy(rng.integers(0, 2, (30, 4))), torch.from_numpy(rng.random((30, 4)))
    expected = [f1_score(a, b >= 0.5, zero_division=1.0) for a, b in zip(y, p, strict=True)]
    np.testing.assert_allclose(AnyOf().right(p, y), expected)


def test_rows_go_into_strata_by_their_rarest_class():
    y = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]])
    assert AnyOf().strata(y) == [1, 0, 2, -1, 1]


def test_a_power_law_goes_on_where_it_should():
    """Errors 0.4 k^-0.5 in 4,000 rows: at 16 and 32 labels the law says 0.1 and 0.0707."""
    n, at = 4000, [1.0, 2.0, 4.0, 8.0]
    rights = [(np.arange(n) >= round(0.4 * k**-0.5 * n)).astype(float) for k in at]
    one, two = extrapolate(at, rights, np.arange(n))
    assert (one.labels, two.labels) == (16.0, 32.0)
    assert 1 - one.value == pytest.approx(0.1, abs=1e-3)
    assert 1 - two.value == pytest.approx(0.4 * 32**-0.5, abs=1e-3)
    assert one.low < one.value < one.high
    assert one.ahead
    assert extrapolate(at[:2], rights[:2], np.arange(n)) == []
    worse = extrapolate(at, rights[::-1], np.arange(n))  # more labels never hurt
    assert worse[0].value == pytest.approx(rights[0].mean())


def test_confusions_count_and_draw_safely():
    rows = [{"truth": t, "said": s} for t, s in ((0, 0), (0, 1), (0, 1), (1, 0))]
    assert confusions(rows) == [(0, 1, 2), (1, 0, 1)]
    svg = confusion_svg(rows, ["<b>", "b"])
    assert "&lt;b&gt;: 2 of 3 called b" in svg
    assert "<b>" not in svg


def test_merit_prefers_right_answers():
    y = torch.tensor([0, 1, 2])
    good = 3.0 * torch.eye(3)
    assert OneOf().merit(good, y) > OneOf().merit(good.roll(1, 0), y)


def test_several_classes_an_image(monkeypatch):
    monkeypatch.setattr(portfolio, "ANY", (portfolio.ANY[0], ("heads/linear/one_vs_rest", [("", {})], False)))
    sim = simulate(1, classes=4, shots=10, width=16)
    y = torch.nn.functional.one_hot(sim.train.y, 4)
    z, both = sim.train.z.clone(), torch.arange(0, 40, 3)
    other = (both + 1) % 40
    y[both] |= y[other]
    z[both] = torch.nn.functional.normalize(z[both] + sim.train.z[other], dim=1)
    done = learn(Features(z, y, encoder=sim.train.encoder), sim.text, wish=Wish(method="one-vs-rest"), clock=Clock(1e9))
    assert done.protocol == "nested"
    assert done.metrics["f1"].value > 0.4
    assert done.metrics["mean_average_precision"].value > 0.5
    p = done.committee.probabilities(sim.test)
    said = done.committee.said(p)
    assert said[0] == sorted((c for c in range(4) if p[0, c] >= done.committee.thresholds_C[c]), key=lambda c: -float(p[0, c]))
    strict = learn(Features(z, y, encoder=sim.train.encoder), sim.text, wish=Wish(method="one-vs-rest", precision=0.9), clock=Clock(1e9))
    assert strict.committee.thresholds_C.sum() > done.committee.thresholds_C.sum()
    with pytest.raises(ValueError, match="one_vs_rest"):
        learn(Features(z, y), sim.text, wish=Wish(method="GDA"))
