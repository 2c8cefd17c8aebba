"""RESTORE: shifts against numpy norms of saved activations, the adapter by hand, and the limits in which it is deep prompts alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent, Step
from pairwright.prompts.images import Images
from pairwright.prompts.restore import RESTORE, feature_shift
from tests.prompts.test_deep_prefix import HAND, MODEL, NAMES, TRAIN, image_by_hand

BOTH = ("image", "text")
HOW = Descent(lr=0.02, epochs=2, batch=4)
TAPS = ("0", "1", "2")


def shifts_by_numpy(learner, images: Images) -> tuple[list[float], list[float]]:
    """|prompted - plain| / |plain| of the class token and of the last token of every text, block by block."""
    ids = learner.ids(MODEL, NAMES)
    last = [int(row.argmax()) for row in ids]
    own, plain = (MODEL.image(images.x, deep=d, taps=TAPS).taps for d in (list(learner.image_), None))
    emb = MODEL.embed_tokens(ids).clone()
    emb[:, 1 : 1 + len(learner.context_)] = learner.context_
    deep = [None, *learner.text_]
    mine = MODEL.towers["text"].from_embeddings(emb, torch.tensor(last), deep, taps=TAPS).taps
    hand = MODEL.text(ids, taps=TAPS).taps
    away = lambda a, b: float(np.mean(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)))
    rows = np.arange(len(ids)), last
    image = [away(own[t][:, 0].numpy(), plain[t][:, 0].numpy()) for t in TAPS]
    return image, [away(mine[t].numpy()[rows], hand[t].numpy()[rows]) for t in TAPS]


def test_shifts_and_their_consistency_are_norms_of_saved_activations():
    learner = RESTORE(HAND, weight=3.0, how=HOW).fit(MODEL, NAMES, TRAIN)
    image, text = shifts_by_numpy(learner, TRAIN)
    found = feature_shift(learner, MODEL, NAMES, TRAIN)
    np.testing.assert_allclose(found["image"], image, rtol=1e-4)
    np.testing.assert_allclose(found["text"], text, rtol=1e-4)
    rows = torch.tensor([4, 0, 6])
    step = Step(None, None, None, learner.see(MODEL, TRAIN.x[rows]), rows)
    some = shifts_by_numpy(learner, TRAIN.rows(rows))[0]
    (term,) = learner.terms(MODEL, NAMES, TRAIN)
    assert float(term(step)) == pytest.approx(3 * np.mean([(a - b) ** 2 for a, b in zip(some, text)]), rel=1e-3)


def test_the_adapter_is_a_residual_perceptron():
    learner = RESTORE(HAND, weight=0.0, surgery=0.3, how=HOW).fit(MODEL, NAMES, TRAIN)
    z = image_by_hand(learner.image_, TRAIN.x)
    x = 0.7 * z + 0.3 * torch.relu(z @ learner.image_down_) @ learner.image_up_
    torch.testing.assert_close(learner.image_features(MODEL, TRAIN).z, x / x.norm(dim=1, keepdim=True))
    assert learner.image_down_.shape == (16, 4)
    assert learner.text_up_.abs().max() > 0


def test_no_weight_and_no_surgery_are_independent_deep_prompts():
    free = RESTORE(HAND, weight=0.0, surgery=0.0, how=HOW).fit(MODEL, NAMES, TRAIN)
    plain = DeepPrefix(HAND, BOTH, how=HOW).fit(MODEL, NAMES, TRAIN)
    for name in ("context_", "text_", "image_"):
        assert torch.equal(getattr(free, name), getattr(plain, name))


def test_a_greater_weight_brings_the_shifts_together():
    how = Descent(lr=1e-3, epochs=10, batch=7, optimizer="adamw")
    gap = []
    for weight in (0.0, 30.0):
        found = feature_shift(RESTORE(HAND, weight=weight, surgery=0.0, how=how).fit(MODEL, NAMES, TRAIN), MODEL, NAMES, TRAIN)
        gap.append(float((found["image"] - found["text"]).norm()))
    assert gap[1] < 0.5 * gap[0]
    with pytest.raises(ValueError, match="both towers"):
        RESTORE(HAND, towers=("image",)).fit(MODEL, NAMES, TRAIN)
