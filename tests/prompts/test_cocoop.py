"""CoCoOp against one image at a time with its tokens made by a torch network, and its limit, CoOp."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pairwright.core.encoded import Encoded
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.prompts.cocoop import CoCoOp
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(3, width=16, dim=32, vocab=256, context=12).requires_grad_(False)
TRAIN = Features(unit(torch.randn(6, 32, generator=generator("cocoop"))), torch.arange(6) % 3, encoder=MODEL.fingerprint)
FITTED = CoCoOp(HAND, reduce=8, how=Descent(lr=0.05, epochs=4, batch=2)).fit(MODEL, NAMES, TRAIN)


def test_every_image_has_the_text_of_its_own_tokens():
    net = nn.Sequential(nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 16))
    net.load_state_dict({"0.weight": FITTED.down_, "0.bias": FITTED.down_bias_, "2.weight": FITTED.up_, "2.bias": FITTED.up_bias_})
    ids = MODEL.tokenizer([HAND.format(n) for n in NAMES])
    logits = FITTED.logits(MODEL, NAMES, TRAIN, chunk=4)
    for i, z in enumerate(TRAIN.z):
        emb = MODEL.embed_tokens(ids).clone()
        emb[:, 1:5] = (FITTED.context_ + net(z)).detach()
        text = MODEL.text_from(emb, MODEL.towers["text"].eot(ids)).z_BD
        torch.testing.assert_close(logits[i], MODEL.logit_scale.exp() * text @ z, rtol=1e-4, atol=1e-4)
    texts = FITTED.class_text(MODEL, FITTED.ids(MODEL, NAMES), Encoded(TRAIN.z))
    assert (texts[0] - texts[1]).abs().max() > 1e-3  # it learned to look at the image


def test_without_the_network_it_is_coop():
    shifted = CoCoOp(HAND, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    shifted.context_ = FITTED.context_
    plain = CoOp(HAND, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    plain.context_ = FITTED.context_
    expected = MODEL.logit_scale.exp() * TRAIN.z @ plain.text(MODEL, NAMES).W_CD.T
    torch.testing.assert_close(shifted.logits(MODEL, NAMES, TRAIN), expected, rtol=1e-4, atol=1e-4)


def test_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="logits"):
        FITTED.text(MODEL, NAMES)
    with pytest.raises(ValueError, match="depends on the image"):
        FITTED.class_text(MODEL, FITTED.ids(MODEL, NAMES))
    with pytest.raises(ValueError, match="shares its context"):
        CoCoOp(HAND, per_class=True).fit(MODEL, NAMES, TRAIN)
    assert FITTED.logits(MODEL, NAMES, TRAIN.rows([])).shape == (0, 3)
