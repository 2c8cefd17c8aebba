"""LP++: start, step sizes and steps against numpy, and what val does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear import blend_probe
from pairwright.heads.linear.blend_probe import BlendProbe, step_sizes
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=4, shots=3, width=10, test_per_class=5)


def by_hand(z, y, W, scale, steps):
    """Descent on the mean cross-entropy with gradients by loops; returns the weights, the text weights and the losses."""
    N, C = len(z), len(W)
    text = z @ W.T
    w = np.stack([z[y == c].sum(0) for c in range(C)])
    alpha = np.full(C, 2.5 * scale * np.mean([text[y == c, c].mean() for c in range(C)]))
    top = max(np.linalg.eigvalsh(sum(np.outer(r, r) for r in z)))
    bound = 4 * max(sum(t**2 for t in text[:, c]) for c in range(C))
    velocity, losses = np.zeros_like(w), []
    for step in range(1, steps + 1):
        logits = z @ w.T + alpha * text
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        losses.append(-np.mean(np.log(p[np.arange(N), y])))
        slope = np.zeros_like(w)
        slope_alpha = np.zeros(C)
        for n in range(N):
            for c in range(C):
                error = (p[n, c] - (y[n] == c)) / N
                slope[c] += error * z[n]
                slope_alpha[c] += error * text[n, c]
        velocity = 0.9 * velocity + slope
        w = w - 4 * N / top * velocity
        if step % 10 == 0:
            alpha = alpha - N / bound * slope_alpha
    return w, alpha, losses


def test_steps_are_the_papers():
    z, y, W = SIM.train.z.double().numpy(), SIM.train.y.numpy(), SIM.text.W_CD.double().numpy()
    w, alpha, losses = by_hand(z, y, W, SIM.text.scale, 25)
    head = BlendProbe(steps=25).fit(SIM.train, SIM.text)
    np.testing.assert_allclose(head.alpha_.numpy(), alpha, rtol=1e-5)
    np.testing.assert_allclose(head.weight_.numpy(), w + alpha[:, None] * W, rtol=1e-4, atol=1e-4)
    assert losses[-1] < losses[0]


def test_step_sizes_are_below_twice_the_reciprocal_curvature():
    """The mean cross-entropy of C classes has a curvature of at most eigmax / (2N) along the weights."""
    z = SIM.train.z.double()
    step, _ = step_sizes(z, z @ SIM.text.W_CD.double().T)
    curvature = torch.linalg.matrix_norm(z.T @ z, 2) / (2 * len(z))
    assert step == pytest.approx(2 / float(curvature))


def test_val_keeps_the_best_step():
    sim = simulate(2, classes=6, shots=2, width=16)
    kept = BlendProbe(steps=40).fit(sim.train, sim.text, val=sim.val)
    every = [accuracy(BlendProbe(steps=s).fit(sim.train, sim.text).logits(sim.val), sim.val.y) for s in range(1, 41)]
    best = max(s for s, value in enumerate(every, 1) if value == max(every))
    torch.testing.assert_close(kept.weight_, BlendProbe(steps=best).fit(sim.train, sim.text).weight_)


def test_without_shots_it_is_zero_shot_and_large_problems_take_fewer_steps(monkeypatch):
    none = BlendProbe().fit(SIM.train.rows([]), SIM.text).logits(SIM.test)
    torch.testing.assert_close(none, ZeroShot().fit(None, SIM.text).logits(SIM.test))
    monkeypatch.setattr(blend_probe, "_BUDGET", 7.5 * SIM.train.z.numel() * 4)
    torch.testing.assert_close(BlendProbe().fit(SIM.train, SIM.text).weight_, BlendProbe(steps=7).fit(SIM.train, SIM.text).weight_)
