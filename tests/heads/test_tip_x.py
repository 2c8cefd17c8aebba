"""TIP-X against scipy's relative entropy in loops, and its limit Tip-Adapter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from pairwright.data.world.simulate import simulate
from pairwright.heads.cache import signature
from pairwright.heads.cache.signature import divergence, log_signature
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.cache.tip_x import TipX
from pairwright.heads.descent import by_content

SIM = simulate(0, classes=5, shots=3, width=12, test_per_class=4)
Z, K, W = (t.double().numpy() for t in (SIM.test.z, SIM.train.z, SIM.text.W_CD))


def signatures(x):
    return softmax(x @ W.T / 0.5, axis=1)


def entropies(p, q):
    return np.array([[rel_entr(a, b).sum() for b in q] for a in p])


@pytest.fixture(params=[2**24, 20], ids=["one block", "many blocks"])
def _blocks(request, monkeypatch):
    monkeypatch.setattr(signature, "_BLOCK", request.param)


@pytest.mark.usefixtures("_blocks")
def test_logits_are_tip_adapter_plus_scaled_negative_entropies():
    """The range of the entropies and of the cosines over pairs of support rows, by loops."""
    among = entropies(signatures(K), signatures(K))
    cosines = K @ K.T
    off = ~np.eye(len(K), dtype=bool)
    slope = (cosines[off].max() - cosines[off].min()) / (among[off].max() - among[off].min())
    affinity = slope * (among[off].max() - entropies(signatures(Z), signatures(K)))
    votes = np.zeros((len(Z), 5))
    for k, label in enumerate(SIM.train.y.tolist()):
        votes[:, label] += affinity[:, k]
    base = TipAdapter(0.7, 3.0).fit(SIM.train, SIM.text).logits(SIM.test).numpy()
    logits = TipX(0.7, 3.0, gamma=2.0).fit(SIM.train, SIM.text).logits(SIM.test)
    np.testing.assert_allclose(logits.numpy(), base + 2.0 * votes, rtol=1e-4, atol=1e-3)


def test_decisions_for_equal_shots_are_those_of_the_papers_affinity():
    """The paper's affinity is the negative rescaled entropy: a shift of ours, the same for every class."""
    among = entropies(signatures(K), signatures(K))[~np.eye(len(K), dtype=bool)]
    cosines = (K @ K.T)[~np.eye(len(K), dtype=bool)]
    entropy = entropies(signatures(Z), signatures(K))
    rescaled = (entropy - among.min()) / (among.max() - among.min()) * (cosines.max() - cosines.min()) + cosines.min()
    paper = -rescaled @ np.eye(5)[SIM.train.y.numpy()]
    logits = TipX(alpha=0.0, gamma=1.0).fit(SIM.train, SIM.text).logits(SIM.test).numpy() - SIM.text.scale * Z @ W.T
    spread = lambda a: a - a.mean(1, keepdims=True)
    np.testing.assert_allclose(spread(logits), spread(paper), atol=1e-4)


def test_small_divergences_of_nearly_uniform_signatures_survive_float32():
    rows = 1e-2 * torch.randn(6, 12, generator=torch.Generator().manual_seed(0))
    log_p = log_signature(rows, SIM.text.W_CD, 0.5)
    exact = entropies(*2 * (signatures(rows.double().numpy()),))
    np.testing.assert_allclose(divergence(log_p, log_p).numpy(), exact, rtol=2e-2, atol=2e-8)


def test_without_signature_votes_it_is_tip_adapter():
    ours = TipX(1.2, 4.0, gamma=0.0).fit(SIM.train, SIM.text)
    torch.testing.assert_close(ours.logits(SIM.test), TipAdapter(1.2, 4.0).fit(SIM.train, SIM.text).logits(SIM.test), rtol=1e-5, atol=1e-4)


def test_a_class_without_support_is_not_preferred():
    train = SIM.train.rows(SIM.train.y != 2)
    head = TipX(alpha=0.0, gamma=50.0).fit(train, SIM.text)
    seen = SIM.test.rows(SIM.test.y != 2)
    assert (head.logits(seen).argmax(1) != 2).float().mean() > 0.9


def test_search_on_val_does_not_add_what_does_not_help():
    sim = simulate(1, classes=5, shots=4, width=16, within=0.5, text_noise=0.0, prompt_noise=0.0)
    head = TipX().fit(sim.train, sim.text, val=sim.val)
    assert (head.alpha_, head.gamma_) == (0.0, 0.0)


def test_the_span_of_many_rows_is_read_from_some_of_them_whatever_their_order(monkeypatch):
    monkeypatch.setattr(signature, "_SAMPLE", 7)
    sim = simulate(4, classes=5, shots=4, width=12)
    log_q = signature.log_signature(sim.train.z, sim.text.W_CD, 0.5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    whole = signature.scaling(log_q, sim.train.z, sim.train.z)
    assert signature.scaling(log_q[order], sim.train.z[order], sim.train.z[order]) == pytest.approx(whole)
    some = by_content(sim.train.z)[:7]
    assert signature.scaling(log_q[some], sim.train.z[some], sim.train.z[some]) == pytest.approx(whole)
