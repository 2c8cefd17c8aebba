"""Tip-Adapter against a loop over support rows, its limits, and its search on val."""

from __future__ import annotations

import math

import pytest
import torch

from pairwright.core.features import ClassText, Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache import tip_adapter
from pairwright.heads.cache.tip_adapter import ALPHAS, BETAS, TipAdapter
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=5, shots=3, width=12, test_per_class=4)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 5.5), (3.0, 0.5)])
def test_logits_are_the_papers_sum(alpha, beta, monkeypatch):
    monkeypatch.setattr(tip_adapter, "_BLOCK", 40)  # several blocks of queries
    logits = TipAdapter(alpha, beta).fit(SIM.train, SIM.text).logits(SIM.test)
    for n, z in enumerate(SIM.test.z):
        for c in range(5):
            votes = sum(math.exp(-beta * (1 - float(z @ k))) for k, y in zip(SIM.train.z, SIM.train.y) if y == c)
            assert float(logits[n, c]) == pytest.approx(SIM.text.scale * float(z @ SIM.text.W_CD[c]) + alpha * votes, abs=1e-4)


def test_sharp_and_strong_votes_are_the_nearest_neighbour():
    near = SIM.train.z + 0.15 * torch.randn(SIM.train.z.shape, generator=torch.Generator().manual_seed(0))
    near = near / near.norm(dim=1, keepdim=True)
    logits = TipAdapter(alpha=1e30, beta=200.0).fit(SIM.train, SIM.text).logits(near)
    assert torch.equal(logits.argmax(1), SIM.train.y[(near @ SIM.train.z.T).argmax(1)])


def test_search_on_val_is_the_best_of_its_grid_and_falls_back_to_zero_shot():
    sim = simulate(3, classes=8, shots=4, width=16, text_noise=1.5)
    tuned = TipAdapter().fit(sim.train, sim.text, val=sim.val)
    grid = {(a, b): accuracy(TipAdapter(a, b).fit(sim.train, sim.text).logits(sim.val), sim.val.y) for a in ALPHAS for b in BETAS}
    assert grid[tuned.alpha_, tuned.beta_] == max(grid.values())
    useless = Features(sim.train.z, sim.train.y.roll(3), encoder=sim.train.encoder)
    perfect = ClassText(sim.means_CD, scale=16.0)
    val = Features(sim.means_CD[sim.val.y], sim.val.y, encoder=sim.val.encoder)
    head = TipAdapter().fit(useless, perfect, val=val)
    assert head.alpha_ == 0.0
    torch.testing.assert_close(head.logits(sim.test), ZeroShot().fit(None, perfect).logits(sim.test))
