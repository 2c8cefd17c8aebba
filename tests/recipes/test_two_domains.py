"""AD-CLIP and IP-CLIP: each term against numbers by hand, their limits, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.prompts.fit import Descent, Step, scores
from pairwright.prompts.images import Images
from pairwright.prompts.style_features import encoded, style_features
from pairwright.prompts.style_tokens import StyleTokens
from pairwright.recipes._two_domains import Other, apart, balanced_entropy, text_divergence
from pairwright.recipes.ad_clip import ADCLIP, Align
from pairwright.recipes.ip_clip import IPCLIP, Forbid

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(3, image="vit", size=8, patch=4, width=16, dim=32, layers=2, vocab=256, context=12).requires_grad_(False)
HOW = Descent(lr=0.05, epochs=3, batch=3)
LEARNER = StyleTokens(HAND, reduce=8, content="tokens", how=HOW)


def rows(key: str, n: int = 6, shift: float = 0.0) -> Features:
    return style_features(MODEL, Images(torch.randn(n, 3, 8, 8, generator=generator(key)) + shift, torch.arange(n) % 3))


SOURCE, TARGET = rows("source"), rows("target", 9, 2.0)


def step_of(learner: StyleTokens, x: Features = SOURCE) -> Step:
    image = encoded(x, MODEL)
    text = learner.class_text(MODEL, learner.ids(MODEL, NAMES), image)
    return Step(text, scores(text, image.z_BD, MODEL.scale), x.y, image, torch.arange(len(x)))


def test_entropy_is_scipys_of_probabilities_scaled_class_by_class():
    logits = torch.randn(5, 4, generator=generator("entropy"))
    p = logits.softmax(1).numpy()
    p = p / np.linalg.norm(p, axis=0)
    # scipy normalises to sum one: H(p) = s (H(p / s) - log s) for p of sum s
    expected = np.mean([row.sum() * (entropy(row / row.sum()) - math.log(row.sum())) for row in p])
    assert float(balanced_entropy(logits)) == pytest.approx(expected, abs=1e-5)


def test_text_divergence_is_scipys_dimension_by_dimension():
    text, other = (unit(torch.randn(2, 3, 5, generator=generator("text", k))) for k in range(2))
    soft = lambda t: t.softmax(1).numpy()
    expected = np.mean([sum(entropy(soft(other)[b, :, d], soft(text)[b, :, d]) for d in range(5)) for b in range(2)])
    assert float(text_divergence(text, other)) == pytest.approx(expected, abs=1e-6)
    assert float(text_divergence(text, text)) == pytest.approx(0, abs=1e-7)


def test_the_terms_of_ad_clip_add_up_with_their_weights():
    fitted = ADCLIP(LEARNER).fit(MODEL, NAMES, SOURCE, TARGET).learner_
    other, step = Other.of(fitted, MODEL, NAMES, TARGET, LEARNER), step_of(fitted)
    seen = other(step)
    again = other(step)
    assert torch.equal(seen.rows_B, again.rows_B)  # the same step sees the same rows
    expected = (
        0.1 * apart(fitted.style(step.image), seen.style_BJE)
        + 0.01 * balanced_entropy(seen.logits_BC)
        + text_divergence(step.text, seen.text_BCD)
    )
    torch.testing.assert_close(Align(other, 0.1, 0.01, 1.0)(step), expected)


def test_ad_clip_without_its_terms_is_the_learner_on_the_source_and_labels_of_the_target_do_not_count():
    plain = StyleTokens(HAND, reduce=8, content="tokens", how=HOW).fit(MODEL, NAMES, SOURCE)
    off = ADCLIP(LEARNER, style=0.0, entropy=0.0, text=0.0).fit(MODEL, NAMES, SOURCE, TARGET)
    torch.testing.assert_close(off.logits(MODEL, NAMES, TARGET), plain.logits(MODEL, NAMES, TARGET))
    on = ADCLIP(LEARNER).fit(MODEL, NAMES, SOURCE, TARGET)
    blind = ADCLIP(LEARNER).fit(MODEL, NAMES, SOURCE, Features(TARGET.z, None, encoder=TARGET.encoder, side=TARGET.side))
    assert torch.equal(on.logits(MODEL, NAMES, TARGET), blind.logits(MODEL, NAMES, TARGET))
    assert (on.logits(MODEL, NAMES, TARGET) - plain.logits(MODEL, NAMES, TARGET)).abs().max() > 1e-3
    assert not hasattr(LEARNER, "context_")  # a copy was fitted


def test_the_terms_of_ip_clip_by_hand_and_what_is_wrong_enough_has_no_pull():
    lock = IPCLIP(LEARNER).fit(MODEL, NAMES, SOURCE, TARGET)
    fitted = lock.learner_
    other, step = Other.of(fitted, MODEL, NAMES, TARGET, lock), step_of(fitted)
    bank = unit(torch.randn(2, 4, MODEL.width, generator=generator("banks")))
    seen, total = other(step), 0.0
    z_BD = SOURCE.z_ND
    cross = lambda logits, y: float(-logits.log_softmax(1)[torch.arange(len(y)), y].mean())
    total += min(cross(seen.logits_BC, TARGET.y[seen.rows_B]), 5.0)
    for F in bank:
        mixed = torch.stack([unit(z + (0.1 * F @ z).softmax(0) @ F) for z in z_BD])
        total += min(cross(scores(step.text, mixed, MODEL.scale), SOURCE.y), 5.0)
    total += 0.1 * float(apart(fitted.style(step.image), seen.style_BJE)) + float(text_divergence(step.text, seen.text_BCD))
    expected = 0.01 * float(balanced_entropy(seen.logits_BC)) - total
    found = Forbid(other, TARGET.y, tuple(bank), lock)(step)
    assert float(found) == pytest.approx(expected, abs=1e-4)
    capped = IPCLIP(LEARNER, cap=0.0, text=0.0, entropy=0.0)
    assert float(Forbid(other, TARGET.y, tuple(bank), capped)(step)) == 0


def test_ip_clip_that_forbids_nothing_is_the_learner():
    plain = StyleTokens(HAND, reduce=8, content="tokens", how=HOW).fit(MODEL, NAMES, SOURCE)
    off = IPCLIP(LEARNER, forbid=0.0).fit(MODEL, NAMES, SOURCE, TARGET)
    torch.testing.assert_close(off.logits(MODEL, NAMES, TARGET), plain.logits(MODEL, NAMES, TARGET))


def test_unlabelled_forbidden_rows_are_unlearned_by_the_hand_written_prompts_word():
    blind = Features(TARGET.z, None, encoder=TARGET.encoder, side=TARGET.side)
    lock = IPCLIP(LEARNER).fit(MODEL, NAMES, SOURCE, blind)
    assert torch.isfinite(lock.logits(MODEL, NAMES, TARGET)).all()


def test_refuses_what_it_cannot_do():
    for method in (ADCLIP(LEARNER), IPCLIP(LEARNER)):
        with pytest.raises(ValueError, match="not fitted yet"):
            method.logits(MODEL, NAMES, SOURCE)
        with pytest.raises(ValueError, match="the second has none"):
            method.fit(MODEL, NAMES, SOURCE, SOURCE.rows([]))
