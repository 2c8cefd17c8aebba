"""Unsupervised GDA against EM by loops, and against supervised GDA at its fixed point."""

from __future__ import annotations

import numpy as np
import torch

from pairwright.core.features import Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.linear.gda import GDA
from pairwright.heads.transport.gda_em import GDAEM
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=4, width=10, pool_per_class=12)


def test_is_em_of_the_shared_covariance_mixture():
    """Two rounds, every sum by a loop, P by a dense inverse."""
    z, W = SIM.pool.z.double().numpy(), SIM.text.W_CD.double().numpy()
    N, D, C = len(z), 10, 4
    softmax = lambda a: np.exp(a - a.max(1, keepdims=True)) / np.exp(a - a.max(1, keepdims=True)).sum(1, keepdims=True)
    zero_shot = SIM.text.scale * z @ W.T
    q = softmax(zero_shot)
    for _ in range(2):
        mu = np.stack([sum(q[n, c] * z[n] for n in range(N)) / sum(q[:, c]) for c in range(C)])
        scatter = sum(q[n, c] * np.outer(z[n] - mu[c], z[n] - mu[c]) for n in range(N) for c in range(C))
        P = D * np.linalg.inv(scatter + np.trace(scatter) / (N - 1) * np.eye(D))
        g = N / D * np.array([[row @ P @ m - 0.5 * m @ P @ m - np.log(C) for m in mu] for row in z])
        q = softmax(g)
    logits = GDAEM(iterations=2).fit_logits(SIM.pool, SIM.text)
    np.testing.assert_allclose(logits.numpy(), zero_shot + g, rtol=1e-4, atol=1e-3)


def test_sure_and_right_guesses_give_supervised_gda():
    """Classes so far apart that zero-shot is certain: one step is GDA on the true labels with alpha = N/D."""
    sim = simulate(1, classes=4, width=12, within=0.4, text_noise=0.0, prompt_noise=0.0, pool_per_class=30, scale=400.0)
    y = torch.as_tensor(sim.truth["pool"]["y"])
    ours = GDAEM(iterations=1).fit_logits(sim.pool, sim.text)
    labelled = Features(sim.pool.z, y, encoder=sim.pool.encoder)
    torch.testing.assert_close(ours, GDA(alpha=120 / 12).fit(labelled, sim.text).logits(sim.pool), rtol=1e-4, atol=1e-2)


def test_rows_without_variation_leave_zero_shot():
    same = Features(SIM.pool.z[:1].expand(5, -1), encoder=SIM.pool.encoder)
    torch.testing.assert_close(GDAEM().fit_logits(same, SIM.text), ZeroShot().fit(None, SIM.text).logits(same))
