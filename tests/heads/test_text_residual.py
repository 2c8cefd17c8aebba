"""TaskRes: gradient in closed form, its limits, and what it learns."""

from __future__ import annotations

import numpy as np
import torch

from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear import text_residual
from pairwright.heads.linear.text_residual import TextResidual
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=4, shots=3, width=10, test_per_class=5)


def test_the_first_gradient_is_that_of_the_papers_loss(monkeypatch):
    """At R = 0: alpha scale / N sum_n (p_nc - y_nc) (z_n - (z_n . w_c) w_c), in numpy."""
    caught = {}
    monkeypatch.setattr(text_residual, "descend", lambda parameters, loss, n, **_: caught.update(p=parameters[0], loss=loss, n=n))
    TextResidual(alpha=0.7).fit(SIM.train, SIM.text)
    (slope,) = torch.autograd.grad(caught["loss"](torch.arange(caught["n"])), [caught["p"]])
    z, W, y = SIM.train.z.double().numpy(), SIM.text.W_CD.double().numpy(), SIM.train.y.numpy()
    logits = SIM.text.scale * z @ W.T
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    expected = np.zeros_like(W)
    for n in range(len(z)):
        for c in range(4):
            expected[c] += 0.7 * SIM.text.scale / len(z) * (p[n, c] - (y[n] == c)) * (z[n] - (z[n] @ W[c]) * W[c])
    np.testing.assert_allclose(slope.numpy(), expected, atol=1e-6)


def test_epochs_follow_the_number_of_shots(monkeypatch):
    asked = []
    monkeypatch.setattr(text_residual, "descend", lambda *_, epochs, **__: asked.append(epochs))
    for shots in (1, 4, 5):
        sim = simulate(0, classes=3, shots=shots, width=8)
        TextResidual().fit(sim.train, sim.text)
    TextResidual(epochs=7).fit(SIM.train, SIM.text)
    assert asked == [100, 100, 200, 7]


def test_untrained_it_is_zero_shot_and_trained_it_fits_its_rows():
    zero_shot = ZeroShot().fit(None, SIM.text)
    torch.testing.assert_close(
        TextResidual(epochs=0).fit(SIM.train, SIM.text).logits(SIM.test), zero_shot.logits(SIM.test), rtol=1e-5, atol=1e-4
    )
    head = TextResidual().fit(SIM.train, SIM.text)
    assert accuracy(head.logits(SIM.train), SIM.train.y) > accuracy(zero_shot.logits(SIM.train), SIM.train.y)
    torch.testing.assert_close(head.weight_.norm(dim=1), torch.ones(4))
