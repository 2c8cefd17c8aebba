"""MaPLe against independent deep prompts with the image tokens that numpy computes, its start, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.core.features import Features
from pairwright.prompts.coop import CoOp
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent
from pairwright.prompts.maple import MaPLe
from pairwright.prompts.tokens import hand_text
from tests.prompts.test_deep_prefix import HAND, MODEL, NAMES, TRAIN, image_by_hand, text_by_hand

HOW = Descent(lr=0.05, epochs=2, batch=4)


def test_image_tokens_are_the_map_of_the_text_tokens():
    learner = MaPLe(3, how=HOW).fit(MODEL, NAMES, TRAIN)
    t, A, b = ((v.numpy()) for v in (torch.cat([learner.context_[None], learner.text_]), learner.map_, learner.shift_))
    image = np.stack([[sum(t[j, p, e] * A[j, e] for e in range(16)) + b[j] for p in range(3)] for j in range(3)])
    torch.testing.assert_close(learner.image_features(MODEL, TRAIN).z, image_by_hand(torch.from_numpy(image), TRAIN.x))
    torch.testing.assert_close(learner.text(MODEL, NAMES).W_CD, text_by_hand(learner.context_, learner.text_))


def test_the_first_words_of_the_template_are_learned():
    start = MaPLe(HAND, layers=1, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    assert [tuple(t.shape) for t in (start.context_, start.text_, start.map_)] == [(2, 16), (0, 2, 16), (1, 16, 16)]
    assert torch.equal(start.text(MODEL, NAMES).W_CD, hand_text(MODEL, NAMES, HAND))
    ids = MODEL.tokenizer(["a photo"])[:, 1:3]
    assert torch.equal(start.context_, MODEL.embed_tokens(ids)[0])
    deeper = MaPLe(HAND, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    assert torch.equal(deeper.map_[1], deeper.map_[2])  # copies of one layer, as the paper's code starts them
    assert not torch.equal(deeper.map_[0], deeper.map_[1])


def test_the_coupling_carries_the_gradient_of_images_to_the_text_tokens():
    """With the map at zero the image side is a constant; elsewhere the text tokens move by what the images want, too."""
    moved = MaPLe(HAND, how=Descent(lr=0.05, epochs=1, batch=99, decay=0.0)).fit(MODEL, NAMES, TRAIN)
    start = MaPLe(HAND, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    alone = DeepPrefix(HAND, ("image", "text"), how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    alone.context_, alone.text_ = (t.clone().requires_grad_() for t in (start.context_, start.text_))
    tokens = [alone.context_, *alone.text_]
    alone.image_ = torch.stack([t @ A + b for t, A, b in zip(tokens, start.map_, start.shift_)])
    logits = MODEL.scale * alone.see(MODEL, TRAIN.x).z_BD @ alone.class_text(MODEL, start.ids(MODEL, NAMES)).T
    gradient = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, TRAIN.y_N), alone.context_)[0]
    torch.testing.assert_close(moved.context_, start.context_ - 0.05 * gradient, rtol=1e-4, atol=1e-6)


def test_no_layers_are_coop_on_cached_features():
    learner = MaPLe(3, layers=0, how=HOW).fit(MODEL, NAMES, TRAIN)
    plain = MODEL.image(TRAIN.x).z_BD
    assert torch.equal(learner.image_features(MODEL, TRAIN).z, plain)
    coop = CoOp(3, how=HOW).fit(MODEL, NAMES, Features(plain, TRAIN.y_N, encoder=MODEL.fingerprint))
    torch.testing.assert_close(learner.context_, coop.context_)


def test_one_sided_settings_are_refused():
    for wrong in (MaPLe(HAND, towers=("image",)), MaPLe(HAND, length=0)):
        with pytest.raises(ValueError, match="both towers"):
            wrong.fit(MODEL, NAMES, TRAIN)
