"""TPT's single step against finite differences of the marginal entropy and AdamW written out; zero steps are zero-shot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.core.contracts import StreamHead
from pairwright.core.features import EncoderMismatch
from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.prompts.tokens import hand_text
from pairwright.prompts.tpt import TPT, confident, marginal_entropy

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(3, image="vit", size=8, patch=4, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
VIEWS = torch.randn(12, 3, 8, 8, generator=generator("views"))


def entropy(p: np.ndarray) -> float:
    return -sum(float(v) * np.log(float(v)) for v in p)


def test_entropies_are_those_of_the_loop():
    logits = 3 * torch.randn(12, 3, generator=generator("entropies"))
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    order = sorted(range(12), key=lambda a: entropy(p[a]))
    assert confident(logits, 0.3).tolist() == order[:3]
    assert confident(logits, 0.0).tolist() == order[:1]
    assert float(marginal_entropy(logits)) == pytest.approx(entropy(p.mean(0)), rel=1e-5)


def test_one_step_is_adamw_on_the_marginal_entropy():
    learner = TPT(HAND, keep=0.5, lr=0.01).fit(MODEL, NAMES)
    start = learner.first_.clone()
    before = {k: v.clone() for k, v in MODEL.state_dict().items()}
    found = learner.step(MODEL, VIEWS)
    assert all(torch.equal(v, before[k]) for k, v in MODEL.state_dict().items())
    z = MODEL.image(VIEWS).z_BD

    def text(context):
        emb = MODEL.embed_tokens(learner.ids_).clone()
        emb[:, 1:5] = context
        return MODEL.text_from(emb, MODEL.towers["text"].eot(learner.ids_)).z_BD

    p = (MODEL.scale * z @ text(start).T).softmax(1).double().numpy()
    kept = sorted(range(12), key=lambda a: entropy(p[a]))[:6]
    loss = lambda v: entropy((MODEL.scale * z[kept] @ text(v).T).double().softmax(1).mean(0).numpy())
    g = torch.zeros_like(start)
    for m in range(4):
        for e in range(16):
            d = torch.zeros_like(start)
            d[m, e] = 1e-3
            g[m, e] = (loss(start + d) - loss(start - d)) / 2e-3
    sure = g.abs() > 0.05 * g.abs().max()  # the first step of AdamW has the size of the rate, whatever the gradient's
    expected = start * (1 - 0.01 * 0.01) - 0.01 * g.sign()
    torch.testing.assert_close(learner.context_[sure], expected[sure], rtol=0, atol=1e-4)
    assert sure.float().mean() > 0.5
    torch.testing.assert_close(found, MODEL.scale * text(learner.context_) @ z[0], rtol=1e-4, atol=1e-4)
    assert loss(learner.context_) < loss(start)


def test_no_steps_are_zero_shot_and_views_may_be_cached():
    z = MODEL.image(VIEWS).z_BD
    plain = TPT(HAND, steps=0).fit(MODEL, NAMES)
    torch.testing.assert_close(plain.step(MODEL, VIEWS), MODEL.scale * hand_text(MODEL, NAMES, HAND) @ z[0])
    learner = TPT(HAND, keep=0.5).fit(MODEL, NAMES)
    torch.testing.assert_close(learner.step(MODEL, z), learner.step(MODEL, VIEWS))


def test_every_image_starts_afresh():
    learner = TPT(HAND).fit(MODEL, NAMES)
    assert isinstance(learner, StreamHead)  # the same members; its step takes the model too
    first = learner.step(MODEL, VIEWS)
    learner.step(MODEL, VIEWS.flip(0))
    assert torch.equal(learner.step(MODEL, VIEWS), first)
    assert not torch.equal(learner.context_, learner.first_)
    learner.reset()
    assert torch.equal(learner.context_, learner.first_)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="not fitted"):
        TPT().step(MODEL, VIEWS)
    learner = TPT(HAND).fit(MODEL, NAMES)
    with pytest.raises(ValueError, match="row 2"):
        learner.step(MODEL, MODEL.image(VIEWS).z_BD.index_fill(0, torch.tensor([2]), float("nan")))
    with pytest.raises(EncoderMismatch, match="another model"):
        learner.step(tiny(4, image="vit", size=8, patch=4, width=16, dim=16, vocab=256, context=12), VIEWS)
