"""CLIP-Adapter against numpy, its limits, and evidence that only a network can read."""

from __future__ import annotations

import numpy as np
import torch

from pairwright.core.features import Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear.clip_adapter import RATIOS, ClipAdapter
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=4, shots=3, width=12, test_per_class=5)


def test_logits_are_the_papers_network():
    head = ClipAdapter(ratio=0.3, epochs=5).fit(SIM.train, SIM.text)
    V, U, z, W = (t.double().numpy() for t in (head.down_, head.up_, SIM.test.z, SIM.text.W_CD))
    assert V.shape == (12, 3)
    expected = np.zeros((len(z), 4))
    for n, row in enumerate(z):
        hidden = [max(0.0, float(row @ V[:, e])) for e in range(3)]
        mixed = 0.7 * row + 0.3 * sum(h * U[e] for e, h in enumerate(hidden))
        expected[n] = SIM.text.scale * (mixed / np.sqrt((mixed**2).sum())) @ W.T
    np.testing.assert_allclose(head.logits(SIM.test).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_start_is_that_of_a_torch_linear_layer_in_spread():
    text = simulate(0, classes=2, width=256).text
    rows = Features.of(torch.eye(256), torch.zeros(256, dtype=torch.int64))
    head, other = (ClipAdapter(epochs=0, seed=s).fit(rows, text) for s in (0, 1))
    assert float(head.down_.abs().max()) <= 1 / 16
    assert abs(float(head.down_.std()) - 1 / 16 / 3**0.5) < 1e-3
    assert not torch.equal(head.down_, other.down_)


def test_it_reads_a_sign_that_no_linear_map_can():
    """Two classes on two axes, each with a random sign: by symmetry every linear score is blind, |z| is not."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(160) % 2
    sign = torch.where(torch.rand(160, generator=draw) < 0.5, -1.0, 1.0)
    z = 0.2 * torch.randn(160, 8, generator=draw)
    z[torch.arange(160), y] += sign
    text = simulate(0, classes=2, width=8).text
    head = ClipAdapter(reduction=1, lr=1e-2).fit(Features.of(z[:120], y[:120]), text)
    assert accuracy(head.logits(z[120:]), y[120:]) > 0.85
    assert accuracy(ZeroShot().fit(None, text).logits(z[120:]), y[120:]) < 0.75


def test_search_on_val_keeps_the_best_ratio_and_its_network():
    tuned = ClipAdapter().fit(SIM.train, SIM.text, val=SIM.val)
    alone = {r: ClipAdapter(ratio=r).fit(SIM.train, SIM.text) for r in RATIOS}
    scores = {r: accuracy(h.logits(SIM.val), SIM.val.y) for r, h in alone.items()}
    assert tuned.ratio_ == min(r for r, s in scores.items() if s == max(scores.values()))
    torch.testing.assert_close(tuned.logits(SIM.test), alone[tuned.ratio_].logits(SIM.test))
