"""APE against loops over class pairs and keys, and its limit Tip-Adapter."""

from __future__ import annotations

import math

import pytest
import torch

from pairwright.core.features import ClassText, Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.ape import APE, criterion
from pairwright.heads.cache.tip_adapter import TipAdapter

SIM = simulate(0, classes=5, shots=3, width=12, test_per_class=3)


def test_criterion_is_the_papers_double_sum():
    W = SIM.text.W_CD.double()
    J = criterion(SIM.text.W_CD, 0.7, 0.3)
    for d in range(12):
        products = [float(W[i, d] * W[j, d]) for i in range(5) for j in range(5) if i != j]
        mean = float(W[:, d].mean())
        variance = sum((float(w) - mean) ** 2 for w in W[:, d]) / 4
        assert float(J[d]) == pytest.approx(0.3 * variance - 0.7 * sum(products) / 20, abs=1e-12)
    assert (criterion(SIM.text.W_CD[:1], 0.7, 0.3) == 0).all()


def test_logits_are_the_papers_sum():
    head = APE(alpha=1.5, beta=2.0, gamma=0.2, share=0.5).fit(SIM.train, SIM.text)
    kept = sorted(range(12), key=lambda d: -float(criterion(SIM.text.W_CD, 0.7, 0.3)[d]))[:6]
    assert head.channels_.tolist() == sorted(kept)
    short = lambda v: [float(v[d]) / math.sqrt(sum(float(v[i]) ** 2 for i in kept)) for d in kept]
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    text = [short(w) for w in SIM.text.W_CD]
    logits = head.logits(SIM.test)
    for n, z in enumerate(SIM.test.z):
        expected = [SIM.text.scale * float(z @ w) for w in SIM.text.W_CD]
        for key, label in zip(SIM.train.z, SIM.train.y.tolist()):
            scores = [math.exp(dot(short(key), w)) for w in text]
            bits = -math.log2(scores[label] / sum(scores))  # KL of the one-hot label from the key's prediction
            expected[label] += 1.5 * math.exp(0.2 * bits) * math.exp(-2.0 * (1 - dot(short(z), short(key))))
        torch.testing.assert_close(logits[n], torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_with_all_channels_and_equal_trust_it_is_tip_adapter():
    ours = APE(alpha=1.5, beta=2.0, gamma=0.0, share=1.0).fit(SIM.train, SIM.text)
    torch.testing.assert_close(ours.logits(SIM.test), TipAdapter(1.5, 2.0).fit(SIM.train, SIM.text).logits(SIM.test), rtol=1e-5, atol=1e-4)


def test_channels_in_which_texts_agree_go_first():
    same = torch.cat([SIM.text.W_CD, torch.full((5, 12), 0.3)], 1)
    head = APE().fit(Features.of(torch.cat([SIM.train.z, torch.ones(15, 12)], 1), SIM.train.y), ClassText(same))
    assert head.channels_.tolist() == list(range(12))


def test_search_on_val_finds_the_share_that_a_useless_half_calls_for():
    draw = torch.Generator().manual_seed(0)
    sim = simulate(1, classes=8, shots=8, width=16, within=1.0, text_noise=2.0, val_per_class=10)
    wide = lambda f: Features.of(torch.cat([f.z, 2 * torch.randn(len(f), 16, generator=draw)], 1), f.y)
    text = ClassText(torch.cat([sim.text.W_CD, torch.full((8, 16), 0.1)], 1), scale=16.0)
    head = APE().fit(wide(sim.train), text, val=wide(sim.val))
    assert len(head.channels_) <= 16
    assert head.alpha_ > 0


def test_share_outside_of_its_range_is_refused():
    with pytest.raises(ValueError, match="share"):
        APE(share=0.0).fit(SIM.train, SIM.text)
