"""LFA: Procrustes against scipy, the re-ranking loss by loops, a planted turn, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes

from pairwright.core.features import ClassText, Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.transport.lfa import BETAS, LFA, procrustes, rerank_loss
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=6, shots=6, width=12, rotation=0.5, within=1.0, val_per_class=8)


@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_start_is_orthogonal_procrustes_pulled_to_the_identity(beta):
    sim = simulate(1, classes=10, shots=4, width=8)  # more classes than dimensions: one best turn
    z, target = sim.train.z.double(), sim.text.W_CD.double()[sim.train.y]
    turn, _ = orthogonal_procrustes(z.numpy(), target.numpy())
    np.testing.assert_allclose(procrustes(z, target, beta).numpy(), (1 - beta) * turn + beta * np.eye(8), atol=1e-3)
    head = LFA(beta=beta, steps=0).fit(sim.train, sim.text)
    np.testing.assert_allclose(head.map_.numpy(), (1 - beta) * turn + beta * np.eye(8), atol=1e-3)


def test_where_many_turns_are_best_the_one_nearest_to_the_identity_is_taken():
    """Three classes in twelve dimensions: as good as scipy's turn on them, and kinder to three classes that were not seen."""
    sim = simulate(2, classes=6, shots=8, width=12, within=1.0)
    seen, unseen = sim.train.rows(sim.train.y < 3), sim.test.rows(sim.test.y >= 3)
    z, target = seen.z.double(), sim.text.W_CD.double()[seen.y]
    ours, theirs = procrustes(z, target, 0.0), torch.from_numpy(orthogonal_procrustes(z.numpy(), target.numpy())[0])
    torch.testing.assert_close(ours @ ours.T, torch.eye(12, dtype=torch.float64))
    assert float((z @ ours - target).norm()) == pytest.approx(float((z @ theirs - target).norm()), rel=1e-5)
    assert ours.trace() > theirs.trace()
    score = lambda m: accuracy(unseen.z.double() @ m @ sim.text.W_CD.double().T, unseen.y)
    assert score(ours) > score(theirs)


@pytest.mark.parametrize("nearest", [1, 3, 6])
def test_rerank_loss_by_loops(nearest):
    x, W, y = SIM.test.z.double()[:20], SIM.text.W_CD.double(), SIM.test.y[:20]
    total = 0.0
    for row, label in zip(x, y):
        distance = [float((row - w).norm()) for w in W]
        for c in sorted(range(6), key=lambda c: distance[c])[:nearest]:
            total += max(0.0, distance[label] + (1 - float(W[c] @ W[label])) / 4 - distance[c])
    assert float(rerank_loss(x, W, W @ W.T, y, nearest)) == pytest.approx(total / (20 * nearest), abs=1e-6)


def test_it_undoes_a_turn_exactly_where_rows_span_the_space():
    draw = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(12, 12, generator=draw))[0]
    W = torch.linalg.qr(torch.randn(12, 12, generator=draw))[0]
    head = LFA(beta=0.0, steps=0).fit(Features.of(W @ turn, torch.arange(12)), ClassText(W))
    torch.testing.assert_close(head.map_, turn.T, rtol=1e-4, atol=1e-4)


def test_beta_is_the_largest_of_the_best_on_val():
    head = LFA(steps=0).fit(SIM.train, SIM.text, val=SIM.val)
    scores = {b: accuracy(LFA(beta=b, steps=0).fit(SIM.train, SIM.text).logits(SIM.val), SIM.val.y) for b in BETAS}
    assert head.beta_ == max(b for b, s in scores.items() if s == max(scores.values()))
    assert head.beta_ < 1  # the planted turn calls for a map


def test_refinement_lowers_the_loss_and_few_rows_stay_near_the_identity():
    cost = lambda head: float(
        rerank_loss(torch.nn.functional.normalize(SIM.train.z @ head.map_), SIM.text.W_CD, SIM.text.W_CD @ SIM.text.W_CD.T, SIM.train.y, 3)
    )
    start, refined = (LFA(beta=0.5, steps=s).fit(SIM.train, SIM.text) for s in (0, 200))
    assert cost(refined) < cost(start)
    assert LFA(steps=0).fit(SIM.train.rows([0, 1]), SIM.text).beta_ == 0.85


def test_it_gains_on_a_planted_turn():
    zero_shot = accuracy(ZeroShot().fit(None, SIM.text).logits(SIM.test), SIM.test.y)
    assert accuracy(LFA().fit(SIM.train, SIM.text).logits(SIM.test), SIM.test.y) > zero_shot + 0.05
