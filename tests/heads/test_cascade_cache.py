"""CascadeCache against a loop over rows and caches, and its limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.cascade_cache import CascadeCache, normalised
from pairwright.heads.cache.tip_adapter import ALPHAS, TipAdapter
from pairwright.heads.inputs import accuracy

SIM = simulate(0, classes=5, shots=4, width=12, test_per_class=4)


def seen_twice(x):
    """The same rows as a second encoder of width 7 sees them."""
    turn = torch.randn(12, 7, generator=generator("second encoder"))
    return dataclasses.replace(x, side={"second": unit(x.z @ turn)})


TRAIN, VAL, TEST = (seen_twice(x) for x in (SIM.train, SIM.val, SIM.test))


@pytest.mark.parametrize("sharp", [0.0, 0.4, 1.0])
def test_logits_are_the_stated_blend(sharp):
    """Votes, normalisation, agreement and softmax for one row at a time in numpy."""
    norm = lambda a: (a - a.mean()) / a.std()
    W, y = SIM.text.W_CD.double().numpy(), TRAIN.y.numpy()
    expected = []
    for i in range(len(TEST)):
        z = TEST.z[i].double().numpy()
        zero_shot, normed = SIM.text.scale * W @ z, []
        for row, keys in ((z, TRAIN.z.double().numpy()), (TEST.side["second"][i].numpy(), TRAIN.side["second"].numpy())):
            normed.append(norm(np.array([sum(np.exp(-3 * (1 - row @ k)) for k in keys[y == c]) for c in range(5)])))
        e = np.exp([sharp * v @ norm(zero_shot) for v in normed])
        expected.append(zero_shot + 0.8 * sum(w * v for w, v in zip(e / e.sum(), normed)))
    head = CascadeCache(alpha=0.8, beta=3.0, sharp=sharp, epochs=0).fit(TRAIN, SIM.text)
    np.testing.assert_allclose(head.logits(TEST), expected, rtol=1e-4, atol=1e-3)


def test_without_a_second_encoder_it_is_tip_adapter_with_normalised_votes():
    one = CascadeCache(epochs=0).fit(SIM.train, SIM.text).logits(SIM.test)
    zero_shot = SIM.text.scale * SIM.test.z @ SIM.text.W_CD.T
    voted = TipAdapter().fit(SIM.train, SIM.text).logits(SIM.test) - zero_shot
    torch.testing.assert_close(one, zero_shot + normalised(voted), rtol=1e-3, atol=1e-3)


def test_training_lowers_the_loss_and_moves_both_caches():
    fixed, trained = (CascadeCache(epochs=e, lr=1e-2).fit(TRAIN, SIM.text) for e in (0, 30))
    loss = lambda head: cross_entropy(head.logits(TRAIN), TRAIN.y)
    assert loss(trained) < loss(fixed) - 0.01
    assert (trained.keys_ - fixed.keys_).abs().max() > 1e-3
    assert (trained.second_keys_ - fixed.second_keys_).abs().max() > 1e-3


def test_alpha_on_val_is_the_best_of_its_grid():
    tuned = CascadeCache(epochs=0).fit(TRAIN, SIM.text, val=VAL)
    right = {a: accuracy(CascadeCache(a, epochs=0).fit(TRAIN, SIM.text).logits(VAL), VAL.y) for a in ALPHAS}
    assert tuned.alpha_ == min(a for a in ALPHAS if right[a] == max(right.values()))


def test_a_missing_or_odd_second_encoder_is_refused():
    head = CascadeCache(epochs=0).fit(TRAIN, SIM.text)
    for rows in (SIM.test, SIM.test.z):
        with pytest.raises(ValueError, match=r"side\['second'\]"):
            head.logits(rows)
    with pytest.raises(ValueError, match=r"\(20, 7\) is wanted"):
        head.logits(dataclasses.replace(TEST, side={"second": torch.ones(20, 6)}))
