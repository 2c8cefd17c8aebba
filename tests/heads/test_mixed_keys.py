"""Mixed keys: the limits TIP-X on images and on captions, a slow loop, and what captions may look like."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pairwright.core.numerics import unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.mixed_keys import DELTAS, MixedKeys
from pairwright.heads.cache.tip_x import TipX

SIM = simulate(0, classes=5, shots=3, width=12, test_per_class=4)
CAPTION = unit(SIM.means_CD[SIM.train.y] + 0.2 * torch.randn(15, 12, generator=torch.Generator().manual_seed(0)))
TRAIN = replace(SIM.train, side={"caption": 3 * CAPTION})


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_without_captions_or_with_none_of_them_it_is_tip_x():
    expected = TipX().fit(SIM.train, SIM.text).logits(SIM.test)
    head = MixedKeys().fit(SIM.train, SIM.text)
    assert head.delta_ == 0.0
    close(head.logits(SIM.test), expected)
    close(MixedKeys(delta=0.0).fit(TRAIN, SIM.text).logits(SIM.test), expected)


@pytest.mark.parametrize("delta", [0.3, 1.0])
def test_cosine_votes_use_the_mixed_keys(delta):
    head = MixedKeys(alpha=1.5, beta=2.0, gamma=0.0, delta=delta).fit(TRAIN, SIM.text)
    for n, z in enumerate(SIM.test.z):
        expected = [SIM.text.scale * float(z @ w) for w in SIM.text.W_CD]
        for image, caption, label in zip(SIM.train.z, CAPTION, SIM.train.y.tolist()):
            affinity = (1 - delta) * float(z @ image) + delta * float(z @ caption)
            expected[label] += 1.5 * math.exp(-2.0 * (1 - affinity))
        close(head.logits(SIM.test)[n], torch.tensor(expected))


def test_signatures_stay_those_of_the_images():
    head, images = MixedKeys(delta=1.0).fit(TRAIN, SIM.text), TipX().fit(SIM.train, SIM.text)
    assert torch.equal(head.signature_, images.signature_)


def test_search_on_val_uses_captions_only_where_they_help():
    sim = simulate(3, classes=6, shots=6, width=16, within=1.5, text_noise=3.0, val_per_class=10)
    exact = replace(sim.train, side={"caption": sim.means_CD[sim.train.y]})
    wrong = replace(sim.train, side={"caption": sim.means_CD[(sim.train.y + 1) % 6]})
    assert MixedKeys().fit(exact, sim.text, val=sim.val).delta_ > 0
    tuned = MixedKeys().fit(wrong, sim.text, val=sim.val)
    assert tuned.delta_ == 0
    assert tuned.delta_ in DELTAS


def test_captions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="caption"):
        MixedKeys().fit(replace(SIM.train, side={"caption": torch.ones(15, 7)}), SIM.text)
