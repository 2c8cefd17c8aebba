"""CLAP: multipliers by a loop, the penalised optimum by scipy, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from pairwright.data.world.simulate import simulate
from pairwright.heads.linear.class_penalty import ClassPenalty, multipliers
from pairwright.heads.linear.text_residual import TextResidual
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=4, shots=3, width=8, test_per_class=5)


def test_multipliers_are_mean_zero_shot_probabilities_of_own_shots():
    logits, y = SIM.text.scale * SIM.train.z @ SIM.text.W_CD.T, SIM.train.y
    keep = y != 1
    found = multipliers(logits[keep], y[keep])
    for c in range(4):
        own = [float(torch.softmax(row, 0)[c]) for row, label in zip(logits, y) if label == c]
        assert float(found[c]) == pytest.approx(1.0 if c == 1 else sum(own) / len(own), abs=1e-6)


def test_it_reaches_the_optimum_that_scipy_finds():
    z, W, y = SIM.train.z.double().numpy(), SIM.text.W_CD.double().numpy(), SIM.train.y.numpy()
    scale, strength = SIM.text.scale, 0.05
    lam = multipliers(torch.from_numpy(scale * z @ W.T), SIM.train.y).numpy()

    def cost(flat):
        w = flat.reshape(W.shape)
        logits = scale * z @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T
        top = logits.max(1)
        ce = np.log(np.exp(logits - top[:, None]).sum(1)) + top - logits[np.arange(len(y)), y]
        return ce.mean() + strength * np.mean(lam * ((scale * (w - W)) ** 2).sum(1))

    best = minimize(cost, W.ravel(), method="BFGS", options={"gtol": 1e-6}).x.reshape(W.shape)
    head = ClassPenalty(strength=strength, epochs=1500, lr=5e-3).fit(SIM.train, SIM.text)
    np.testing.assert_allclose(head.weight_.numpy(), best / np.linalg.norm(best, axis=1, keepdims=True), atol=1e-2)
    np.testing.assert_allclose(head.penalty_.numpy(), lam, rtol=1e-5)


def test_a_large_penalty_is_zero_shot_and_none_is_a_probe_from_the_text():
    zero_shot = ZeroShot().fit(None, SIM.text).logits(SIM.test)
    held = ClassPenalty(strength=1e5, lr=1e-5).fit(SIM.train, SIM.text).logits(SIM.test)
    torch.testing.assert_close(held, zero_shot, rtol=1e-3, atol=2e-2)
    free = ClassPenalty(strength=0.0, epochs=50).fit(SIM.train, SIM.text).logits(SIM.test)
    probe = TextResidual(alpha=1.0, epochs=50).fit(SIM.train, SIM.text).logits(SIM.test)  # the same path: w = W + R
    torch.testing.assert_close(free, probe, rtol=1e-4, atol=1e-3)


def test_the_constant_penalty_has_the_same_mean():
    adaptive, constant = (ClassPenalty(adaptive=a, epochs=1).fit(SIM.train, SIM.text) for a in (True, False))
    assert float(constant.penalty_.std()) == 0
    assert float(constant.penalty_.mean()) == pytest.approx(float(adaptive.penalty_.mean()), rel=1e-5)
    assert float(adaptive.penalty_.std()) > 0.01
