"""One-vs-rest against scipy's optimum of the same objective, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from pairwright.core.features import Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.linear.one_vs_rest import OneVsRest

SIM = simulate(0, classes=3, shots=6, width=8, test_per_class=5)
rng = np.random.default_rng(0)
Y = torch.from_numpy(rng.integers(0, 2, (len(SIM.train), 3)))
TRAIN = Features(SIM.train.z, Y, encoder=SIM.train.encoder)


@pytest.mark.parametrize("text", [True, False])
def test_logits_are_those_of_the_optimum(text):
    z, W, y = SIM.train.z.double().numpy(), SIM.text.W_CD.double().numpy(), Y.double().numpy()
    m, zero = z.mean(0), z @ W.T
    s = (zero - zero.mean(0)) / np.sqrt(((zero - zero.mean(0)) ** 2).mean())
    p = (y.sum(0) + 0.5) / (len(y) + 1)
    b0 = np.log(p / (1 - p))

    def loss(theta):
        V, b, a = theta[:24].reshape(3, 8), theta[24:27], theta[27]
        x = (z - m) @ V.T + b + (a * s if text else 0)
        return (np.logaddexp(0, x) - y * x).sum() + 0.25 * (V**2).sum() + 0.5 * ((b - b0) ** 2).sum() + 0.5 * (a - 1) ** 2

    best = minimize(loss, np.r_[np.zeros(24), b0, 1.0], method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000}).x
    t = SIM.test.z.double().numpy()
    s_t = (t @ W.T - zero.mean(0)) / np.sqrt(((zero - zero.mean(0)) ** 2).mean())
    expected = (t - m) @ best[:24].reshape(3, 8).T + best[24:27] + (best[27] * s_t if text else 0)
    logits = OneVsRest(l2=0.5, text=text).fit(TRAIN, SIM.text).logits(SIM.test)
    np.testing.assert_allclose(logits.numpy(), expected, atol=2e-3)


def test_a_large_penalty_ranks_as_zero_shot_does():
    head = OneVsRest(l2=1e9).fit(TRAIN, SIM.text)
    zero = SIM.test.z @ SIM.text.W_CD.T
    assert torch.equal(head.logits(SIM.test).argsort(0), zero.argsort(0))


def test_one_class_a_row_is_its_one_hot():
    one = OneVsRest().fit(SIM.train, SIM.text).logits(SIM.test)
    hot = Features(SIM.train.z, torch.nn.functional.one_hot(SIM.train.y, 3), encoder=SIM.train.encoder)
    assert torch.equal(one, OneVsRest().fit(hot, SIM.text).logits(SIM.test))


def test_a_class_that_is_always_or_never_there_stays_finite():
    y = Y.clone()
    y[:, 0], y[:, 1] = 1, 0
    logits = OneVsRest().fit(Features(SIM.train.z, y), SIM.text).logits(SIM.test)
    assert torch.isfinite(logits).all()
    assert (logits[:, 0] > 0).all()
    assert (logits[:, 1] < 0).all()


def test_bad_input():
    with pytest.raises(ValueError, match="multi-hot"):
        OneVsRest().fit(Features(SIM.train.z, Y * 2), SIM.text)
    with pytest.raises(ValueError, match="multi-hot"):
        OneVsRest().fit(Features(SIM.train.z, Y[:, :2]), SIM.text)
    with pytest.raises(ValueError, match="at least one"):
        OneVsRest().fit(SIM.train.rows([]), SIM.text)
    with pytest.raises(ValueError, match="positive"):
        OneVsRest(l2=0.0).fit(TRAIN, SIM.text)
