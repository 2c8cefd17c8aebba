"""GDA against numpy with an explicit inverse, scikit-learn's LDA, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pairwright.core.features import Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear.gda import ALPHAS, GDA, class_means, default_alpha

SIM = simulate(0, classes=5, shots=8, width=12, test_per_class=6, anisotropy=1.0)


def fitted(train, text):
    head = GDA().fit(train, text)
    return head.weight_, head.bias_


@pytest.mark.parametrize("shots", [2, 8])
def test_weights_are_the_papers_formula(shots):
    """mu, S, P by loops and a dense inverse in numpy."""
    sim = simulate(1, classes=5, shots=shots, width=12)
    x, y = sim.train.z.double().numpy(), sim.train.y.numpy()
    N, D = x.shape
    mu = np.stack([x[y == c].mean(0) for c in range(5)])
    S = np.zeros((D, D))
    for row, c in zip(x, y):
        S += np.outer(row - mu[c], row - mu[c]) / (N - 1)
    P = D * np.linalg.inv((N - 1) * S + np.trace(S) * np.eye(D))
    weight, bias = fitted(sim.train, sim.text)
    np.testing.assert_allclose(weight, mu @ P, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(bias, [np.log(1 / 5) - 0.5 * m @ P @ m for m in mu], rtol=1e-4, atol=1e-4)
    logits = GDA(alpha=0.7).fit(sim.train, sim.text).logits(sim.test).numpy()
    z = sim.test.z.numpy()
    expected = sim.text.scale * z @ sim.text.W_CD.numpy().T + 0.7 * (z @ (mu @ P).T + [np.log(1 / 5) - 0.5 * m @ P @ m for m in mu])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3)


def test_with_many_rows_it_decides_as_scikit_learns_lda():
    """The shrinkage fades as 1/N, leaving plain linear discriminant analysis (the scale of P does not move equal-prior decisions)."""
    sim = simulate(2, classes=5, shots=2000, width=12, within=1.2, test_per_class=200)
    weight, bias = fitted(sim.train, sim.text)
    reference = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.2] * 5).fit(sim.train.z.double().numpy(), sim.train.y.numpy())
    ours = (sim.test.z @ weight.T + bias).argmax(1).numpy()
    assert np.mean(ours == reference.predict(sim.test.z.double().numpy())) > 0.998


@pytest.mark.parametrize("case", ["one shot each", "round noise"])
def test_without_covariance_to_see_it_is_nearest_class_mean(case):
    sim = simulate(3, classes=5, shots=1, width=12)
    z, y = sim.train.z, sim.train.y
    if case == "round noise":  # every class mean +- the same step along every axis: the scatter is exactly a multiple of the identity
        steps = 0.3 * torch.cat([torch.eye(12), -torch.eye(12)])
        z, y = (z[:, None] + steps).reshape(-1, 12), y.repeat_interleave(24)
    weight, bias = fitted(Features(z, y), sim.text)
    nearest = torch.cdist(sim.test.z, sim.train.z).argmin(1)
    assert torch.equal((sim.test.z @ weight.T + bias).argmax(1), nearest)


def test_rows_without_information_leave_zero_shot():
    same = Features(SIM.train.z[:1].expand(6, -1), torch.zeros(6, dtype=torch.int64), encoder=SIM.train.encoder)
    weight, bias = fitted(same, SIM.text)
    assert (weight == 0).all()
    assert (bias == 0).all()


@pytest.mark.parametrize("near", [0, 3, 64])
def test_a_new_class_takes_its_mean_from_its_neighbours_and_its_text(near):
    """By a loop, with a dense inverse; 0 neighbours leave the mean of all rows."""
    train = SIM.train.rows(SIM.train.y != 2)
    z, text = train.z.double().numpy(), SIM.text.W_CD.double().numpy()
    nearest = sorted(z, key=lambda row: -row @ text[2])[:near]
    expected = np.mean([*nearest, *[text[2]] * 16], 0) if near else z.mean(0)
    means = class_means(train.z.double(), train.y, SIM.text.W_CD.double(), near)
    np.testing.assert_allclose(means[2], expected, atol=1e-7)
    seen = [0, 1, 3, 4]
    np.testing.assert_allclose(means[seen], [z[train.y.numpy() == c].mean(0) for c in seen], atol=1e-7)
    scatter = sum(np.outer(row - means[c].numpy(), row - means[c].numpy()) for row, c in zip(z, train.y))
    P = 12 * np.linalg.inv(scatter + np.trace(scatter) / (len(z) - 1) * np.eye(12))  # of the labelled rows alone
    np.testing.assert_allclose(GDA(near=near).fit(train, SIM.text).weight_[2], expected @ P, rtol=1e-4, atol=1e-4)


def test_alpha_on_val_is_the_best_of_its_grid():
    sim = simulate(4, classes=8, shots=4, width=16, text_noise=1.5)
    tuned = GDA().fit(sim.train, sim.text, val=sim.val)
    grid = {a: accuracy(GDA(a).fit(sim.train, sim.text).logits(sim.val), sim.val.y) for a in ALPHAS}
    assert grid[tuned.alpha_] == max(grid.values())
    assert tuned.alpha_ == min(a for a, v in grid.items() if v == max(grid.values()))


def test_default_alpha_is_the_stated_formula():
    z, y = SIM.train.z.double().numpy(), SIM.train.y.numpy()
    keep = (y != 0) | (np.cumsum(y == 0) <= 3)  # class 0 has 3 rows, the others 8
    z, y = z[keep], y[keep]
    means = np.stack([z[y == c].mean(0) for c in range(5)])
    within = sum(((z[y == c] - means[c]) ** 2).sum() for c in range(5)) / (len(z) - 5)
    noise = within * np.mean([1 / np.sum(y == c) for c in range(5)])
    r = 1 - noise / ((means - means.mean(0)) ** 2).sum() * 4
    assert default_alpha(torch.from_numpy(z), torch.from_numpy(y)) == pytest.approx(len(z) / 12 * r**2, rel=1e-6)
    assert default_alpha(SIM.train.z[:5], SIM.train.y[:5]) == pytest.approx(0.1 * 5 / 12)
    assert default_alpha(SIM.train.z[:0], SIM.train.y[:0]) == 0


@pytest.mark.parametrize("shots", [2, 4, 16])
@pytest.mark.parametrize("planted", [{}, {"anisotropy": 1.0}, {"text_noise": 2.0}, {"text_noise": 0.0, "prompt_noise": 0.0}])
def test_default_alpha_is_safe_and_near_the_best_that_test_rows_would_choose(shots, planted):
    """Mean over five seeds, against the best of ten alphas chosen on the test rows (an oracle no user has)."""
    ours, best = [], []
    for seed in range(5):
        sim = simulate(seed, shots=shots, **planted)
        unit = len(sim.train) / sim.train.z.shape[1]
        score = lambda head, sim=sim: accuracy(head.fit(sim.train, sim.text).logits(sim.test), sim.test.y)
        ours.append(score(GDA()))
        best.append([score(GDA(unit * a)) for a in (0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1, 3, 10)])
    best = np.mean(best, 0)
    assert np.mean(ours) >= best[0] - 0.05  # a few points below zero-shot where text is perfect
    assert np.mean(ours) >= best.max() - 0.12
