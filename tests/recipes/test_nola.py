"""NoLA's labels against scikit-learn's logistic regression on a loop's selection, and the limit in which it is the hand-written prompt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pairwright.core.features import ClassText, EncoderMismatch, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.linear.logistic import Logistic
from pairwright.models.tiny import tiny
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.recipes.nola import NoLA

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(5, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
RNG = generator("nola")
POOL = Features(unit(torch.randn(45, 16, generator=RNG)), encoder=MODEL.fingerprint, side={"dino": torch.randn(45, 6, generator=RNG)})
DESCRIBED = ClassText(unit(torch.randn(3, 16, generator=RNG)), tuple(NAMES), encoder=MODEL.fingerprint, scale=8.0)
HOW = Descent(lr=0.02, epochs=2, batch=8)


def tuned(**more):
    return NoLA(**{"k": 5, "head": Logistic(l2=0.5), "learner": CoOp(HAND, how=HOW), **more}).fit(MODEL, NAMES, POOL, DESCRIBED)


def test_the_three_steps_by_other_means():
    fitted = tuned()
    logits = 8 * POOL.z.double().numpy() @ DESCRIBED.W_CD.double().numpy().T
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    chosen = {}
    for c in range(3):
        mine = sorted((i for i in range(45) if probs[i].argmax() == c), key=lambda i: -probs[i, c])[:5]
        chosen |= dict.fromkeys(mine, c)
    assert dict(zip(fitted.rows_.tolist(), fitted.given_.tolist())) == chosen
    side = POOL.side["dino"].double().numpy()
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    rows = sorted(chosen)
    probe = LogisticRegression(C=2.0, tol=1e-10, max_iter=5000).fit(side[rows], [chosen[i] for i in rows])
    np.testing.assert_array_equal(fitted.labels_.numpy(), probe.predict(side))
    learner = CoOp(HAND, how=HOW).fit(MODEL, NAMES, Features(POOL.z, fitted.labels_, encoder=MODEL.fingerprint))
    torch.testing.assert_close(fitted.logits(MODEL, NAMES, POOL), MODEL.scale * POOL.z @ learner.text(MODEL, NAMES).W_CD.T)


def test_no_steps_leave_the_hand_prompt_and_the_parts_given_stay_unfitted():
    learner, head = CoOp(HAND, how=Descent(epochs=0)), Logistic()
    hand = MODEL.text(MODEL.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    torch.testing.assert_close(tuned(learner=learner, head=head).logits(MODEL, NAMES, POOL), MODEL.scale * POOL.z @ hand.T)
    assert not hasattr(learner, "context_")
    assert not hasattr(head, "encoder_")


def test_bad_input_is_refused_with_the_fix():
    with pytest.raises(ValueError, match="not fitted"):
        NoLA().logits(MODEL, NAMES, POOL)
    with pytest.raises(ValueError, match=r"no side features 'mae' \(they hold dino\)"):
        tuned(side="mae")
    with pytest.raises(ValueError, match="in the same order"):
        NoLA().fit(MODEL, NAMES[:2], POOL, DESCRIBED)
    with pytest.raises(ValueError, match="k of at least 1"):
        tuned(k=0)
    with pytest.raises(EncoderMismatch):
        NoLA().fit(MODEL, NAMES, POOL, ClassText(DESCRIBED.W_CD, encoder="other"))
