"""AD-CLIP: its terms against torch, scipy and loops, its loss by hand, its limit, StyleTokens, and its refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn

from pairwright.core.features import EncoderMismatch
from pairwright.core.numerics import generator, unit
from pairwright.prompts.fit import Descent, Step, scores
from pairwright.prompts.persist import load_prompts, save_prompts
from pairwright.prompts.style_features import encoded, style_features
from pairwright.prompts.style_tokens import StyleTokens
from pairwright.recipes._two_domains import Other, apart, balanced_entropy, text_divergence
from pairwright.recipes.ad_clip import ADCLIP, Align
from tests.prompts.test_style_tokens import HAND, MODEL, NAMES, TRAIN

TARGET = style_features(MODEL, 2 * torch.randn(9, 3, 8, 8, generator=generator("target")) + 1)
LEARNER = StyleTokens(HAND, reduce=8, content="tokens", how=Descent(lr=0.05, epochs=3, batch=3))


def drawn(*shape: int, key: str) -> torch.Tensor:
    return torch.randn(*shape, generator=generator("ad-clip", key))


def test_divergence_is_torchs_and_that_of_a_loop():
    a, b = unit(drawn(4, 5, 6, key="a")), unit(drawn(4, 5, 6, key="b"))
    theirs = nn.KLDivLoss(reduction="batchmean")(a.log_softmax(1), b.softmax(1))
    torch.testing.assert_close(text_divergence(a, b), theirs)
    loop = sum(entropy(b[i, :, d].softmax(0).numpy(), a[i, :, d].softmax(0).numpy()) for i in range(4) for d in range(6)) / 4
    assert float(text_divergence(a, b)) == pytest.approx(loop, rel=1e-4)
    assert float(text_divergence(a, a)) == pytest.approx(0, abs=1e-6)


def test_balanced_entropy_is_the_loop_and_shannons_where_classes_have_unit_length():
    logits = drawn(4, 3, key="logits")
    p = logits.double().softmax(1).numpy()
    p = p / np.linalg.norm(p, axis=0)
    loop = np.mean([-sum(v * np.log(v) for v in row) for row in p])
    assert float(balanced_entropy(logits)) == pytest.approx(loop, abs=1e-5)
    sure = torch.eye(3) * 50  # one row a class: lengths are 1, and so the entropy is that of the rows
    assert float(balanced_entropy(sure)) == pytest.approx(entropy(sure.softmax(1).numpy(), axis=1).mean(), abs=1e-5)
    assert float(balanced_entropy(50 * torch.eye(3)[[0, 0, 0]])) > 0.3  # all of one class is not sure


def test_style_distance_is_torchs():
    a, b = drawn(4, 3, 6, key="s"), drawn(4, 3, 6, key="t")
    torch.testing.assert_close(apart(a, b), nn.functional.mse_loss(a, b))


def test_the_term_is_the_sum_by_hand_and_draws_the_same_rows_for_the_same_step():
    learner = dataclasses.replace(LEARNER).fit(MODEL, NAMES, TRAIN)
    other = Other.of(learner, MODEL, NAMES, TARGET, LEARNER)
    image = encoded(TRAIN.rows([4, 1, 2]), MODEL)
    text = learner.class_text(MODEL, learner.ids(MODEL, NAMES), image)
    step = Step(text, scores(text, image.z_BD, MODEL.scale), TRAIN.y[[4, 1, 2]], image, torch.tensor([4, 1, 2]))
    seen, again = other(step), other(step)
    assert torch.equal(seen.rows_B, again.rows_B)
    rows = TARGET.rows(seen.rows_B)
    torch.testing.assert_close(seen.logits_BC, learner.logits(MODEL, NAMES, rows), rtol=1e-4, atol=1e-4)
    expected = 0.1 * nn.functional.mse_loss(learner.style(image), learner.style(encoded(rows, MODEL)))
    p = nn.functional.normalize(seen.logits_BC.softmax(1), dim=0)
    expected = expected - 0.01 * (p * (p + 1e-8).log()).sum(1).mean()
    expected = expected + nn.KLDivLoss(reduction="batchmean")(text.log_softmax(1), seen.text_BCD.softmax(1))
    torch.testing.assert_close(Align(other, 0.1, 0.01, 1.0)(step), expected)


def test_without_weights_it_is_the_learner_on_the_source():
    ours = ADCLIP(LEARNER, style=0, entropy=0, text=0).fit(MODEL, NAMES, TRAIN, TARGET)
    plain = dataclasses.replace(LEARNER).fit(MODEL, NAMES, TRAIN)
    assert torch.equal(ours.logits(MODEL, NAMES, TARGET), plain.logits(MODEL, NAMES, TARGET))


def test_alignment_brings_the_text_of_both_domains_together_and_labels_of_the_target_do_not_matter(tmp_path):
    gap = lambda fit: float(text_divergence(*(class_text(fit, x) for x in (TRAIN, TARGET.rows(range(6))))))
    ours, plain = (ADCLIP(LEARNER, text=w).fit(MODEL, NAMES, TRAIN, TARGET) for w in (5000.0, 0.0))
    assert gap(ours) < 0.5 * gap(plain)
    labelled = dataclasses.replace(TARGET, y_N=torch.arange(9) % 3)
    again = ADCLIP(LEARNER, text=5000.0).fit(MODEL, NAMES, TRAIN, labelled)
    assert torch.equal(again.learner_.context_, ours.learner_.context_)
    assert not hasattr(LEARNER, "context_")  # fitted as a copy
    save_prompts(ours.learner_, tmp_path / "prompts.safetensors")
    assert torch.equal(load_prompts(tmp_path / "prompts.safetensors").up_, ours.learner_.up_)


def class_text(fit: ADCLIP, x) -> torch.Tensor:
    return fit.learner_.class_text(MODEL, fit.learner_.ids(MODEL, NAMES), encoded(x, MODEL)).detach()


def test_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="not fitted"):
        ADCLIP().logits(MODEL, NAMES, TRAIN)
    with pytest.raises(ValueError, match="the second has none"):
        ADCLIP(LEARNER).fit(MODEL, NAMES, TRAIN, TARGET.rows([]))
    with pytest.raises(EncoderMismatch):
        ADCLIP(LEARNER).fit(MODEL, NAMES, TRAIN, dataclasses.replace(TARGET, encoder="another"))
    with pytest.raises(ValueError, match="style_features"):
        ADCLIP(LEARNER).fit(MODEL, NAMES, TRAIN, dataclasses.replace(TARGET, side={}))
