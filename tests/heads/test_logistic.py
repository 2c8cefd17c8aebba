"""The linear probe against scikit-learn, its optimality conditions, its default penalty and its closed set of labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from pairwright.core.features import Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear.logistic import GRID, Logistic, default_l2

SIM = simulate(0, classes=6, shots=6, width=12)


@pytest.mark.parametrize("l2", [0.01, 0.3, 30.0])
def test_probabilities_are_scikit_learns(l2):
    x, y = SIM.train.z.double().numpy(), SIM.train.y.numpy()
    reference = LogisticRegression(C=1 / l2, tol=1e-12, max_iter=10_000).fit(x, y)
    ours = Logistic(l2=l2).fit(SIM.train).logits(SIM.test).softmax(1).numpy()
    np.testing.assert_allclose(ours, reference.predict_proba(SIM.test.z.double().numpy()), atol=2e-4)


def test_the_gradient_at_the_solution_is_zero():
    head = Logistic(l2=0.1).fit(SIM.train)
    W, b = head.weight_.double().requires_grad_(), head.bias_.double().requires_grad_()
    z = SIM.train.z.double()
    loss = torch.nn.functional.cross_entropy(z @ W.T + b, SIM.train.y, reduction="sum") + 0.05 * W.square().sum()
    for g in torch.autograd.grad(loss, (W, b)):
        assert g.abs().max() < 1e-4


def test_strong_penalty_predicts_the_class_frequencies():
    counts = [6, 3, 1, 2, 5, 4]
    keep = torch.cat([(SIM.train.y == c).nonzero().squeeze(1)[:n] for c, n in enumerate(counts)])
    logits = Logistic(l2=1e9).fit(SIM.train.rows(keep)).logits(SIM.test)
    torch.testing.assert_close(logits.softmax(1)[0], torch.tensor(counts) / sum(counts), rtol=1e-4, atol=1e-4)


def test_default_penalty_is_the_stated_formula():
    z, y = SIM.train.z.double().numpy(), SIM.train.y.numpy()
    within = sum(((z[y == c] - z[y == c].mean(0)) ** 2).sum() for c in range(6)) / (len(z) - 6)
    total = ((z - z.mean(0)) ** 2).sum() / (len(z) - 1)
    assert default_l2(SIM.train.z, SIM.train.y) == pytest.approx(within**2 / (12 * max(total - within, total / 20)), rel=1e-6)
    one_each = SIM.train.rows(slice(0, 6))
    z = one_each.z.double().numpy()
    assert default_l2(one_each.z, one_each.y) == pytest.approx(((z - z.mean(0)) ** 2).sum() / 5 / 2 / 12, rel=1e-6)


def test_default_penalty_recovers_the_prior_variance_it_promises():
    """On round Gaussian classes of known spread, the variance of the optimal weights m_c / s^2 is 1 / l2."""
    rng = np.random.default_rng(0)
    C, D, s = 200, 30, 0.05
    means = 0.2 * rng.standard_normal((C, D))
    y = np.repeat(np.arange(C), 40)
    z = means[y] + s * rng.standard_normal((len(y), D))
    optimal = (means - means.mean(0)) / s**2
    assert 1 / default_l2(torch.from_numpy(z), torch.from_numpy(y)) == pytest.approx(optimal.var(), rel=0.05)


@pytest.mark.parametrize("shots", [2, 16])
def test_default_penalty_is_near_the_best_on_digits(shots):
    """Real data: within 3 points of the best of seven penalties chosen on the test rows (an oracle no user has)."""
    x, y = load_digits(return_X_y=True)
    digits = Features.of(torch.from_numpy(x - x.mean(0)).float(), torch.from_numpy(y))
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    rows = torch.cat([order[digits.y[order] == c][:shots] for c in range(10)])
    train, test = digits.rows(rows), digits.rows(order[-800:])
    rule = default_l2(train.z, train.y)
    found = [accuracy(Logistic(l2=rule * g).fit(train).logits(test), test.y) for g in (0.05, 0.2, 0.5, 1, 2, 5, 20)]
    assert accuracy(Logistic().fit(train).logits(test), test.y) >= max(found) - 0.03


def test_val_sweep_keeps_the_best_of_its_grid():
    sim = simulate(2, classes=6, shots=12, width=16, label_noise=0.3)
    head = Logistic().fit(sim.train, val=sim.val)
    rule = default_l2(sim.train.z, sim.train.y)
    grid = {rule * g: accuracy(Logistic(l2=rule * g).fit(sim.train).logits(sim.val), sim.val.y) for g in GRID}
    chosen = min(grid, key=lambda l2: abs(np.log(l2 / head.l2_)))
    assert grid[chosen] == max(grid.values())
    torch.testing.assert_close(head.logits(sim.test), Logistic(l2=head.l2_).fit(sim.train).logits(sim.test), rtol=1e-3, atol=1e-3)


def test_classes_without_rows_are_never_predicted_and_do_not_change_the_rest():
    keep = (SIM.train.y != 1) & (SIM.train.y != 4)
    gaps = SIM.train.rows(keep)
    logits = Logistic(l2=0.1).fit(gaps, SIM.text).logits(SIM.test)
    assert (logits[:, [1, 4]] == -torch.inf).all()
    dense = dataclasses.replace(gaps, y_N=torch.unique(gaps.y, return_inverse=True)[1], classes=())
    torch.testing.assert_close(logits[:, [0, 2, 3, 5]], Logistic(l2=0.1).fit(dense).logits(SIM.test))


def test_refuses_what_has_no_solution():
    with pytest.raises(ValueError, match="at least one labelled row"):
        Logistic().fit(SIM.train.rows([]))
    with pytest.raises(ValueError, match="must be positive"):
        Logistic(l2=0.0).fit(SIM.train)
