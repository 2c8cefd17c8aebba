"""ClassAttend against loops over images, classes and patches, torch's multi-head attention, and its limit, CoCoOp."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from pairwright.core.encoded import Encoded
from pairwright.core.numerics import generator, unit
from pairwright.prompts.class_attend import ClassAttend, attended
from pairwright.prompts.cocoop import CoCoOp
from pairwright.prompts.fit import Descent
from tests.prompts.test_cocoop import HAND, MODEL, NAMES, TRAIN

PATCHES = torch.randn(6, 5, 32, generator=generator("patches"))
WITH = dataclasses.replace(TRAIN, tokens_NMD=PATCHES)
HOW = Descent(lr=0.02, epochs=3, batch=2)
FITTED = ClassAttend(HAND, reduce=8, guide=0.5, how=HOW).fit(MODEL, NAMES, WITH)
SCALE = float(MODEL.logit_scale.exp())


def softmax(x: list[float]) -> list[float]:
    e = [2.718281828459045 ** (v - max(x)) for v in x]
    return [v / sum(e) for v in e]


def test_logits_are_those_of_loops_over_images_classes_and_patches():
    net = nn.Sequential(nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 16))
    net.load_state_dict({"0.weight": FITTED.down_, "0.bias": FITTED.down_bias_, "2.weight": FITTED.up_, "2.bias": FITTED.up_bias_})
    ids = MODEL.tokenizer([HAND.format(n) for n in NAMES])

    def text(c: int, context: torch.Tensor) -> torch.Tensor:
        emb = MODEL.embed_tokens(ids[c : c + 1]).clone()
        emb[:, 1:5] = context
        return MODEL.text_from(emb, MODEL.towers["text"].eot(ids[c : c + 1])).z_BD[0].detach()

    plain = [text(c, FITTED.context_) for c in range(3)]
    logits = FITTED.logits(MODEL, NAMES, WITH, chunk=4)
    for b in range(6):
        t = [p / p.norm() for p in PATCHES[b]]
        like = [[SCALE * float(t[m] @ plain[c]) for c in range(3)] for m in range(5)]
        most = softmax([float(torch.tensor(row, dtype=torch.float64).exp().sum().log()) for row in like])
        z = TRAIN.z[b] + FITTED.guide_ * sum(p * v for p, v in zip(most, t))
        for c in range(3):
            a = softmax([like[m][c] for m in range(5)])
            found = sum(w * v for w, v in zip(a, t))
            w_c = text(c, FITTED.context_ + net(found).detach())
            assert float(logits[b, c]) == pytest.approx(SCALE * float(z / z.norm() @ w_c), abs=2e-3)
    assert float((FITTED.guide_ - 0.5).abs()) > 1e-5  # both sides learn


def test_attention_is_that_of_torch_with_identity_projections():
    layer = nn.MultiheadAttention(32, 1, bias=False, batch_first=True)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(32).repeat(3, 1))
        layer.out_proj.weight.copy_(torch.eye(32))
    t, W = unit(PATCHES), unit(torch.randn(3, 32, generator=generator("queries")))
    expected, _ = layer(W.expand(6, -1, -1) * 7 * 32**0.5, t, t)
    torch.testing.assert_close(attended(t, W, 7.0), expected.detach())


def test_one_patch_for_all_is_cocoop():
    ours = ClassAttend(HAND, how=HOW).fit(MODEL, NAMES, TRAIN)
    plain = CoCoOp(HAND, how=HOW).fit(MODEL, NAMES, TRAIN)
    for name in ("context_", "down_", "up_"):
        torch.testing.assert_close(getattr(ours, name), getattr(plain, name), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(ours.logits(MODEL, NAMES, TRAIN), plain.logits(MODEL, NAMES, TRAIN), rtol=1e-3, atol=1e-3)


def test_classes_get_prompts_of_their_own_and_patch_order_does_not_matter():
    ids = FITTED.ids(MODEL, NAMES)
    found = attended(unit(PATCHES), FITTED.query(MODEL, ids), SCALE)
    shift = FITTED.shift(found.flatten(0, 1)).view(6, 3, -1)
    assert (shift[:, 0] - shift[:, 1]).abs().max() > 1e-4  # CoCoOp's are equal
    turned = dataclasses.replace(WITH, tokens_NMD=PATCHES.flip(1))
    torch.testing.assert_close(FITTED.logits(MODEL, NAMES, turned), FITTED.logits(MODEL, NAMES, WITH), rtol=1e-4, atol=1e-4)


def test_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="learned with patch tokens"):
        FITTED.logits(MODEL, NAMES, TRAIN)
    with pytest.raises(ValueError, match="depends on the image"):
        FITTED.class_text(MODEL, FITTED.ids(MODEL, NAMES))
    bad = dataclasses.replace(TRAIN, tokens_NMD=PATCHES.index_fill(0, torch.tensor([2]), float("nan")))
    with pytest.raises(ValueError, match="row"):
        ClassAttend(HAND, how=HOW).fit(MODEL, NAMES, bad)
    assert FITTED.logits(MODEL, NAMES, WITH.rows([])).shape == (0, 3)
    assert FITTED.class_text(MODEL, FITTED.ids(MODEL, NAMES), Encoded(TRAIN.z, tokens_BMD=PATCHES)).shape == (6, 3, 32)
