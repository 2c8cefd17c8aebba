"""Tip-Adapter-F: its gradient against finite differences, its limits, its search on val."""

from __future__ import annotations

import math

import pytest
import torch

from pairwright.data.world.simulate import simulate
from pairwright.heads.cache import tip_adapter_f
from pairwright.heads.cache.tip_adapter import ALPHAS, BETAS, TipAdapter
from pairwright.heads.cache.tip_adapter_f import TipAdapterF
from pairwright.heads.inputs import accuracy

SIM = simulate(0, classes=4, shots=3, width=10, test_per_class=5, offset=1.5)


def test_without_training_it_is_tip_adapter():
    for given in (None, SIM.val):
        ours = TipAdapterF(alpha=1.3, beta=4.0, epochs=0).fit(SIM.train, SIM.text, val=given)
        tip = TipAdapter(1.3, 4.0).fit(SIM.train, SIM.text, val=given)
        assert (ours.alpha_, ours.beta_) == (tip.alpha_, tip.beta_)
        torch.testing.assert_close(ours.logits(SIM.test), tip.logits(SIM.test), rtol=1e-5, atol=1e-4)


def test_the_loss_is_the_papers_and_its_gradient_is_right(monkeypatch):
    """The loss by loops over rows and keys, with finite differences of it; caught on its way into the descent."""
    caught = {}
    monkeypatch.setattr(tip_adapter_f, "descend", lambda parameters, loss, n, **_: caught.update(keys=parameters[0], loss=loss, n=n))
    head = TipAdapterF(alpha=2.0, beta=3.0).fit(SIM.train, SIM.text)
    z, y, N = head.keys_.double(), head.labels_.tolist(), caught["n"]
    keys = caught["keys"]

    def slow(k: torch.Tensor) -> float:
        total = 0.0
        for n in range(N):
            logits = [head.scale_ * float(z[n] @ w.double()) for w in SIM.text.W_CD]
            for j in range(N):
                logits[y[j]] += 2.0 * math.exp(-3.0 * (1 - float(z[n] @ k[j])))
            top = max(logits)
            total += top + math.log(sum(math.exp(v - top) for v in logits)) - logits[y[n]]
        return total / N

    value = caught["loss"](torch.arange(N))
    assert value.item() == pytest.approx(slow(z), abs=1e-9)
    (slope,) = torch.autograd.grad(value, [keys])
    for j, d in ((0, 0), (5, 3), (11, 9)):
        step = torch.zeros_like(z)
        step[j, d] = 1e-5
        assert float(slope[j, d]) == pytest.approx((slow(z + step) - slow(z - step)) / 2e-5, abs=1e-7)


def test_training_moves_the_keys_and_lowers_the_error_on_unseen_rows():
    sim = simulate(1, classes=6, shots=8, width=16, offset=1.5, text_noise=2.0)
    before, after = (TipAdapterF(epochs=e).fit(sim.train, sim.text) for e in (0, 60))
    assert (after.keys_ - before.keys_).norm(dim=1).min() > 0.01
    cost = lambda head: float(torch.nn.functional.cross_entropy(head.logits(sim.test), sim.test.y))
    assert cost(after) < cost(before)


def test_search_on_val_is_the_best_of_its_grid():
    tuned = TipAdapterF().fit(SIM.train, SIM.text, val=SIM.val)
    base, tip = tuned.scale_ * SIM.val.z @ SIM.text.W_CD.T, lambda b: tuned._votes(SIM.val.z, b)
    grid = {(a, b): accuracy(base + a * tip(b), SIM.val.y) for a in ALPHAS for b in BETAS}
    assert grid[tuned.alpha_, tuned.beta_] == max(grid.values())
    assert tuned.alpha_ == min(a for (a, _), v in grid.items() if v == max(grid.values()))
