"""PromptSRC: its three terms against loops, the Gaussian average against the tokens of every epoch, and the limits."""

from __future__ import annotations

import math

import pytest
import torch

from pairwright.core.encoded import Encoded
from pairwright.core.numerics import generator, unit
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent, Step
from pairwright.prompts.promptsrc import ImageMatch, PromptSRC, ScoreMatch, TextMatch, gaussian
from pairwright.prompts.tokens import hand_text
from tests.prompts.test_deep_prefix import HAND, MODEL, NAMES, TRAIN

BOTH = ("image", "text")
FREE = {"text_weight": 0.0, "image_weight": 0.0, "score_weight": 0.0, "template": HAND}


def test_terms_are_those_of_the_loop():
    rng = generator("promptsrc")
    text, z, T, f = (unit(torch.randn(n, 16, generator=rng)) for n in (3, 4, 3, 7))
    rows = torch.tensor([5, 0, 3, 6])
    step = Step(text, 9 * z @ text.T, torch.zeros(4), Encoded(z), rows)
    assert float(TextMatch(T, 25.0)(step)) == pytest.approx(25 * sum(abs(float(a - b)) for a, b in zip(text.ravel(), T.ravel())) / 48)
    away = sum(abs(float(z[i, d] - f[r, d])) for i, r in enumerate(rows.tolist()) for d in range(16))
    assert float(ImageMatch(f, 10.0)(step)) == pytest.approx(10 * away / 64)
    kl = 0.0
    for i, r in enumerate(rows.tolist()):
        p, q = (torch.softmax(s.double(), 0).tolist() for s in (9 * T @ f[r], step.logits_BC[i]))
        kl += sum(a * math.log(a / b) for a, b in zip(p, q))
    assert float(ScoreMatch(T, f, torch.tensor(9.0), 2.0)(step)) == pytest.approx(2 * kl / 12, rel=1e-4)


def test_gaussian_weights_are_the_papers():
    raw = [math.exp(-((e - 15) ** 2) / 2) for e in range(1, 21)]
    torch.testing.assert_close(gaussian(20, 0.75, 0.05), torch.tensor([w / sum(raw) for w in raw]))
    assert float(gaussian(1, 0.75, 0.05)) == 1


def test_the_tokens_are_the_weighted_mean_over_epochs():
    """The tokens of epoch e, kept on the way, are those of a run without averaging."""
    kept = []

    class Kept(PromptSRC):
        def after_epoch(self):
            return lambda epoch, epochs: kept.append([t.detach().clone() for t in (self.context_, self.text_, self.image_)])

    how = Descent(lr=0.02, epochs=4, batch=4)
    Kept(HAND, template=HAND, how=how).fit(MODEL, NAMES, TRAIN)
    mean = PromptSRC(HAND, template=HAND, spread=0.3, how=how).fit(MODEL, NAMES, TRAIN)
    raw = [math.exp(-0.5 * ((e - 3.0) / 1.2) ** 2) for e in (1, 2, 3, 4)]
    for i, found in enumerate((mean.context_, mean.text_, mean.image_)):
        torch.testing.assert_close(found, sum(w * k[i] for w, k in zip(raw, kept)) / sum(raw), rtol=1e-4, atol=1e-6)


def test_no_terms_and_the_last_tokens_are_independent_deep_prompts():
    how = Descent(lr=0.02, epochs=2, batch=4)
    free = PromptSRC(HAND, centre=None, how=how, **FREE).fit(MODEL, NAMES, TRAIN)
    plain = DeepPrefix(HAND, BOTH, how=how).fit(MODEL, NAMES, TRAIN)
    for name in ("context_", "text_", "image_"):
        torch.testing.assert_close(getattr(free, name), getattr(plain, name), rtol=1e-4, atol=1e-6)


def test_great_weights_hold_the_frozen_model():
    how = Descent(lr=1e-3, epochs=8, batch=7, optimizer="adamw")
    hand, plain = hand_text(MODEL, NAMES, HAND), MODEL.image(TRAIN.x).z_BD
    gap = {}
    for weight in (0.0, 1e3):
        weights = FREE | {"text_weight": weight, "image_weight": weight}
        learner = PromptSRC(HAND, layers=1, how=how, **weights).fit(MODEL, NAMES, TRAIN)
        image = (learner.image_features(MODEL, TRAIN).z - plain).norm()
        gap[weight] = float((learner.text(MODEL, NAMES).W_CD - hand).norm()), float(image)
    assert gap[1e3][0] < 0.5 * gap[0.0][0]
    assert gap[1e3][1] < gap[0.0][1]
