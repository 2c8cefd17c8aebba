"""MoCoOp's mixture and terms against loops, and the limits in which it is CoOp or a plain mean of contexts."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from pairwright.core.encoded import Encoded
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent, Step
from pairwright.prompts.mocoop import Gate, GroupText, MoCoOp
from pairwright.prompts.tokens import encode_with, hand_text

NAMES = ["red circle", "blue square", "star"]
MODEL = tiny(6, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
RNG = generator("mocoop")
TRAIN = Features(unit(torch.randn(9, 16, generator=RNG)), torch.arange(9) % 3, encoder=MODEL.fingerprint)
HOW = Descent(lr=0.01, epochs=2, batch=4)
GROUPS = (("a photo of a {}", "a good photo of a {}"), ("drawing of {}",), ("the very dark {}",))


def test_class_text_is_the_routed_mean_of_the_groups():
    learner = MoCoOp(groups=GROUPS, how=HOW).fit(MODEL, NAMES, TRAIN)
    assert learner.sizes_.tolist() == [4, 2, 3]
    ids, at = learner.ids(MODEL, NAMES), [0, 4, 6, 9]
    text = [encode_with(MODEL, ids[g], learner.context_[at[g] : at[g + 1]]).z_BD for g in range(3)]
    expected = torch.zeros(9, 3)
    for b, z in enumerate(TRAIN.z):
        r = [float(MODEL.scale * z @ v) for v in learner.router_]
        first, second = sorted(range(3), key=lambda g: -r[g])[:2]
        share = math.exp(r[first]) / (math.exp(r[first]) + math.exp(r[second]))
        for c in range(3):
            mix = share * text[first][c] + (1 - share) * text[second][c]
            expected[b, c] = MODEL.scale * z @ mix / mix.norm()
    torch.testing.assert_close(learner.logits(MODEL, NAMES, TRAIN, chunk=4), expected, rtol=1e-4, atol=1e-4)
    assert learner.logits(MODEL, NAMES, TRAIN.rows([])).shape == (0, 3)
    with pytest.raises(ValueError, match="for each image"):
        learner.text(MODEL, NAMES)


def test_terms_are_those_of_the_loop():
    router, target, text, hard = (unit(torch.randn(*s, generator=RNG)) for s in ((3, 16), (3, 16), (3, 4, 16), (3, 4, 16)))
    z = TRAIN.z[:5]
    kl = 0.0
    for row in z:
        p, q = (torch.softmax(9 * (v @ row).double(), 0).tolist() for v in (target, router))
        kl += sum(a * math.log(a / b) for a, b in zip(p, q)) / 5
    step = Step(None, None, None, Encoded(z))
    assert float(Gate(target, router, torch.tensor(9.0), 2.0)(step)) == pytest.approx(2 * kl, rel=1e-4)
    ce = [float(F.cross_entropy(9 * hard[g] @ text[g, c], torch.tensor(c))) for g in range(3) for c in range(4)]
    assert float(GroupText(lambda: text, hard, torch.tensor(9.0), 3.0)(step)) == pytest.approx(3 * sum(ce) / 12, rel=1e-4)


def test_one_group_without_terms_is_coop():
    one = MoCoOp(groups=GROUPS[:1], gate=0.0, hold=0.0, how=HOW).fit(MODEL, NAMES, TRAIN)
    coop = CoOp(GROUPS[0][0], how=HOW).fit(MODEL, NAMES, TRAIN)
    torch.testing.assert_close(one.context_, coop.context_, rtol=1e-4, atol=1e-5)


def test_a_flat_router_over_all_groups_is_their_mean():
    learner = MoCoOp(groups=GROUPS, top=3, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    learner.router_ = torch.zeros_like(learner.router_)
    mean = unit(torch.stack([hand_text(MODEL, NAMES, g[0]) for g in GROUPS]).mean(0))
    torch.testing.assert_close(learner.logits(MODEL, NAMES, TRAIN), MODEL.scale * TRAIN.z @ mean.T, rtol=1e-4, atol=1e-4)


def test_the_gate_teaches_the_router_what_the_templates_say():
    how = Descent(lr=0.01, epochs=60, batch=9, optimizer="adamw")
    target = unit(torch.stack([hand_text(MODEL, NAMES, list(g)) for g in GROUPS]).mean(1))
    teacher = (MODEL.scale * TRAIN.z @ target.T).softmax(1)
    away = []
    for gate in (0.0, 10.0):
        learner = MoCoOp(groups=GROUPS, top=3, gate=gate, how=how).fit(MODEL, NAMES, TRAIN)
        away.append(float((learner.shares(TRAIN.z, MODEL.scale) - teacher).abs().sum()))
    assert away[1] < 0.5 * away[0]
    with pytest.raises(ValueError, match="at least one"):
        MoCoOp(groups=()).fit(MODEL, NAMES, TRAIN)
