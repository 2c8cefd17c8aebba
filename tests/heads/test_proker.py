"""ProKeR against scikit-learn's kernel ridge regression, both of its forms, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.proker import BETAS, RELEASED, RIDGES, ProKeR
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=5, shots=4, width=12, test_per_class=6)
X, T = SIM.train.z.double().numpy(), SIM.test.z.double().numpy()
W, Y = SIM.text.W_CD.double().numpy(), np.eye(5)[SIM.train.y.numpy()]


@pytest.mark.parametrize(("beta", "ridge"), [(1.7, 0.1), (5.0, 3.0)])
@pytest.mark.parametrize("strength", [1.0, None])
def test_correction_is_kernel_ridge_regression_of_the_residual(beta, ridge, strength):
    gram = lambda a: np.exp(-0.5 * beta * ((a[:, None] - X[None]) ** 2).sum(-1))  # the Gaussian kernel of unit rows
    model = KernelRidge(alpha=ridge, kernel="precomputed").fit(gram(X), Y - X @ W.T)
    weight = ridge if strength is None else strength
    expected = SIM.text.scale * (T @ W.T + weight * model.predict(gram(T)))
    logits = ProKeR(beta, ridge, strength).fit(SIM.train, SIM.text).logits(SIM.test)
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-3)


def test_the_released_form_solves_the_released_system():
    """(K / ridge + I) a = Y - f0, by a dense inverse."""
    gram = lambda a: np.exp(-2.0 * (1 - a @ X.T))
    a = np.linalg.inv(gram(X) / 0.05 + np.eye(len(X))) @ (Y - X @ W.T)
    logits = ProKeR(2.0, 0.05).fit(SIM.train, SIM.text).logits(SIM.test)
    np.testing.assert_allclose(logits.numpy(), SIM.text.scale * (T @ W.T + gram(T) @ a), rtol=1e-4, atol=1e-3)


def test_a_large_ridge_is_zero_shot_and_a_small_one_interpolates():
    zero_shot = ZeroShot().fit(None, SIM.text).logits(SIM.test)
    torch.testing.assert_close(ProKeR(2.0, 1e7, 1.0).fit(SIM.train, SIM.text).logits(SIM.test), zero_shot, rtol=1e-4, atol=1e-3)
    at_shots = ProKeR(20.0, 1e-9, 1.0).fit(SIM.train, SIM.text).logits(SIM.train)
    torch.testing.assert_close(at_shots, SIM.text.scale * torch.from_numpy(Y).float(), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(("shots", "row"), [(1, 0), (3, 2), (6, 3), (40, 4)])
def test_defaults_are_the_published_ones_for_the_number_of_shots(shots, row):
    sim = simulate(1, classes=3, shots=shots, width=8)
    head = ProKeR().fit(sim.train, sim.text)
    assert (head.beta_, head.ridge_) == RELEASED[row][1:]


def test_search_on_val_is_the_best_of_its_grid():
    sim = simulate(3, classes=6, shots=4, width=16, text_noise=1.5)
    tuned = ProKeR().fit(sim.train, sim.text, val=sim.val)
    grid = {(b, r): accuracy(ProKeR(b, r).fit(sim.train, sim.text).logits(sim.val), sim.val.y) for b in BETAS for r in RIDGES}
    assert grid[tuned.beta_, tuned.ridge_] == max(grid.values())
    given = ProKeR(ridge=0.3).fit(sim.train, sim.text, val=sim.val)
    assert given.ridge_ == 0.3


def test_a_ridge_of_zero_is_refused():
    with pytest.raises(ValueError, match="ridge must be positive"):
        ProKeR(ridge=0.0).fit(SIM.train, SIM.text)
