"""KgCoOp and ProGrad: their terms by other formulas, the gradient rule by numpy, and the limits in which they are CoOp."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pairwright.core.encoded import Encoded
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent, Step
from pairwright.prompts.kgcoop import Anchor, KgCoOp
from pairwright.prompts.prograd import Agreement, ProGrad, without_conflict
from pairwright.prompts.tokens import hand_text

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(2, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
RNG = generator("regularised")
TRAIN = Features(unit(torch.randn(9, 16, generator=RNG)), torch.arange(9) % 3, encoder=MODEL.fingerprint)
HOW = Descent(lr=0.02, epochs=6, batch=4)


def step() -> Step:
    text, z = unit(torch.randn(3, 16, generator=RNG)), TRAIN.z[:5]
    return Step(text, 10 * z @ text.T, TRAIN.y[:5], Encoded(z))


def test_anchor_is_half_the_squared_distance_of_unit_rows():
    s, target = step(), unit(torch.randn(3, 16, generator=RNG))
    expected = 8 * F.mse_loss(s.text, target, reduction="sum") / 3 / 2
    torch.testing.assert_close(Anchor(target, 8.0)(s), expected)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_agreement_has_the_gradient_of_the_kl_divergence(temperature):
    s, hand = step(), unit(torch.randn(3, 16, generator=RNG))
    logits = s.logits_BC.clone().requires_grad_()
    ours = Agreement(hand, torch.tensor(7.0), temperature)(Step(s.text, logits, s.y_B, s.image))
    teacher = F.softmax(7 * s.image.z_BD @ hand.T / temperature, 1)
    kl = temperature**2 * F.kl_div(F.log_softmax(logits / temperature, 1), teacher, reduction="batchmean")
    entropy = temperature**2 * -(teacher * teacher.log()).sum(1).mean()
    torch.testing.assert_close(ours, kl + entropy)
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (ours, kl)))


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_conflict_is_projected_out(strength, seed):
    rng = np.random.default_rng(seed)
    task, know = rng.standard_normal((2, 4, 3))
    inner = sum(float(a) * float(b) for a, b in zip(task.ravel(), know.ravel()))
    expected = task if inner >= 0 else task - strength * inner / (know**2).sum() * know
    found = without_conflict(torch.from_numpy(task), torch.from_numpy(know), strength).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    if strength == 1:
        assert (found * know).sum() >= -1e-12


def test_no_knowledge_gradient_changes_nothing():
    task = torch.randn(4, 3)
    assert torch.equal(without_conflict(task, torch.zeros(4, 3)), task)


def test_strength_zero_is_coop():
    plain = CoOp(HAND, how=HOW).fit(MODEL, NAMES, TRAIN).context_
    assert torch.equal(ProGrad(HAND, template=HAND, strength=0.0, how=HOW).fit(MODEL, NAMES, TRAIN).context_, plain)
    torch.testing.assert_close(KgCoOp(HAND, template=HAND, weight=0.0, how=HOW).fit(MODEL, NAMES, TRAIN).context_, plain)
    assert not torch.equal(ProGrad(HAND, template=HAND, how=HOW).fit(MODEL, NAMES, TRAIN).context_, plain)


def test_a_greater_weight_holds_the_hand_prompt_closer():
    hand = hand_text(MODEL, NAMES, HAND)
    how = Descent(lr=1e-4, epochs=20, batch=9)  # whole batches, and steps that are small for the greatest weight too
    gap = [
        float((KgCoOp(HAND, template=HAND, weight=w, how=how).fit(MODEL, NAMES, TRAIN).text(MODEL, NAMES).W_CD - hand).norm())
        for w in (0.0, 8.0, 100.0)
    ]
    assert gap[0] > gap[1] > gap[2]
    assert gap[2] < 0.5 * gap[0]


def test_the_first_step_of_prograd_is_the_rule_on_two_gradients():
    """One full-batch step, with gradients by finite differences of each loss; labels are what zero-shot would lower most."""
    rate, eps = 0.05, 2e-3
    hand, start = hand_text(MODEL, NAMES, HAND), CoOp(1, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    start_ME = start.context_
    says = lambda text_CD: F.softmax(MODEL.scale * TRAIN.z @ text_CD.T, 1)
    train = replace(TRAIN, y_N=(says(hand) - says(start.text(MODEL, NAMES).W_CD)).argmin(1))
    learner = ProGrad(1, template=HAND, how=Descent(lr=rate, epochs=1, batch=99, decay=0.0)).fit(MODEL, NAMES, train)
    ids = learner.ids(MODEL, NAMES)

    def both(context_ME):
        emb = MODEL.embed_tokens(ids).clone()
        emb[:, 1] = context_ME[0]
        logits = MODEL.scale * TRAIN.z @ MODEL.text_from(emb, MODEL.towers["text"].eot(ids)).z_BD.T
        kl = F.kl_div(F.log_softmax(logits, 1), says(hand), reduction="batchmean")
        return torch.stack([F.cross_entropy(logits, train.y), kl]).double()

    steps = eps * torch.eye(16)[:, None]
    task, know = torch.stack([(both(start_ME + s) - both(start_ME - s)) / (2 * eps) for s in steps], 1)
    expected = start_ME[0] - rate * without_conflict(task, know).float()
    assert (task * know).sum() < 0  # there is something to project out
    torch.testing.assert_close(learner.context_[0], expected, rtol=0.02, atol=2e-3)
