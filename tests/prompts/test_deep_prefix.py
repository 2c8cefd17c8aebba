"""Deep prompts against towers run block by block with the tokens concatenated by hand, and the limits of no tokens."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pairwright.core.features import EncoderMismatch, Features
from pairwright.core.numerics import generator
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.models.tiny import tiny
from pairwright.prompts.coop import CoOp
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent
from pairwright.prompts.images import Images
from pairwright.prompts.tokens import hand_text

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(1, image="vit", size=8, patch=4, width=16, dim=16, layers=3, vocab=256, context=12).requires_grad_(False)
Y = torch.tensor([0, 1, 2, 0, 1, 2, 1])
TRAIN = Images(torch.randn(7, 3, 8, 8, generator=generator("deep prefix")), Y)
BOTH = ("image", "text")


def image_by_hand(tokens_JPE: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """[class, patches, tokens] through each block; the tokens of a block replace those that the block before has changed."""
    tower = MODEL.towers["image"]
    patches = F.unfold(x, tower.patch, stride=tower.patch).transpose(1, 2) @ tower.conv1.weight.flatten(1).T
    seq = torch.cat([tower.class_embedding.expand(len(x), 1, -1), patches], 1) + tower.positional_embedding
    seq, L, riders = tower.ln_pre(seq), seq.shape[1], None
    for j, block in enumerate(tower.transformer.resblocks):
        if j < len(tokens_JPE):
            riders = tokens_JPE[j].expand(len(x), -1, -1)
        out = block(torch.cat([seq, riders], 1))
        seq, riders = out[:, :L], out[:, L:]
    return F.normalize(tower.ln_post(seq[:, 0]) @ tower.proj, dim=1)


def text_by_hand(context_ME: torch.Tensor, text_JME: torch.Tensor) -> torch.Tensor:
    tower, words = MODEL.towers["text"], MODEL.tokenizer
    out, M = [], len(context_ME)
    for name in NAMES:
        table = tower.token_embedding.weight
        x = torch.cat([table[[words.start_id]], context_ME, table[words.ids(name)], table[[words.end_id]]])
        x = (x + tower.positional_embedding[: len(x)])[None]
        for j, block in enumerate(tower.transformer.resblocks):
            if 1 <= j <= len(text_JME):
                x = torch.cat([x[:, :1], text_JME[j - 1][None], x[:, 1 + M :]], 1)
            x = block(x, causal=True)
        out.append(F.normalize(tower.ln_final(x[0, -1]) @ tower.text_projection, dim=0))
    return torch.stack(out)


@pytest.mark.parametrize("layers", [None, 1, 2])
def test_towers_with_tokens_are_those_run_block_by_block(layers):
    learner = DeepPrefix(3, BOTH, 2, layers, how=Descent(lr=0.1, epochs=2, batch=4)).fit(MODEL, NAMES, TRAIN)
    J = layers or 3
    assert [tuple(t.shape) for t in (learner.context_, learner.text_, learner.image_)] == [(3, 16), (J - 1, 3, 16), (J, 2, 16)]
    torch.testing.assert_close(learner.image_features(MODEL, TRAIN, chunk=3).z, image_by_hand(learner.image_, TRAIN.x))
    torch.testing.assert_close(learner.text(MODEL, NAMES).W_CD, text_by_hand(learner.context_, learner.text_))


def test_the_first_step_follows_the_gradient_of_the_cross_entropy():
    rate = 0.05
    how = Descent(lr=rate, epochs=1, batch=99, decay=0.0)
    start, learner = (DeepPrefix(HAND, length=2, how=h).fit(MODEL, NAMES, TRAIN) for h in (Descent(epochs=0), how))
    v = start.image_.clone().requires_grad_()
    loss = F.cross_entropy(MODEL.scale * image_by_hand(v, TRAIN.x) @ hand_text(MODEL, NAMES, HAND).T, Y)
    torch.testing.assert_close(learner.image_, v.detach() - rate * torch.autograd.grad(loss, v)[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(learner.losses_, loss.detach()[None])


def test_no_tokens_are_the_frozen_model():
    learner = DeepPrefix(HAND, length=0).fit(MODEL, NAMES, TRAIN)
    assert torch.equal(learner.image_features(MODEL, TRAIN.x).z, MODEL.image(TRAIN.x).z_BD)
    assert torch.equal(learner.text(MODEL, NAMES).W_CD, hand_text(MODEL, NAMES, HAND))


def test_a_context_alone_is_coop_on_cached_features():
    how = Descent(lr=0.02, epochs=2, batch=4)
    deep = DeepPrefix(HAND, BOTH, length=0, layers=1, how=how).fit(MODEL, NAMES, TRAIN)
    cached = Features(MODEL.image(TRAIN.x).z_BD, Y, encoder=MODEL.fingerprint)
    torch.testing.assert_close(deep.context_, CoOp(HAND, how=how).fit(MODEL, NAMES, cached).context_)


def test_images_may_be_decoded_on_demand():
    class Source:
        def __len__(self) -> int:
            return 7

        def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
            return torch.stack([TRAIN.x[i] for i in rows.tolist()])

    how = Descent(epochs=1, batch=4)
    lazy = DeepPrefix(HAND, how=how).fit(MODEL, NAMES, Images(Source(), Y))
    assert torch.equal(lazy.image_, DeepPrefix(HAND, how=how).fit(MODEL, NAMES, TRAIN).image_)
    with pytest.raises(ValueError, match=r"float tensor \(4, 3, H, W\)"):
        DeepPrefix(HAND, how=how).fit(MODEL, NAMES, Images((TRAIN.x * 9).byte(), Y))
    with pytest.raises(ValueError, match="7 images but 3 labels"):
        Images(TRAIN.x, Y[:3])


def test_class_text_without_learned_tokens_is_made_once():
    calls = []

    class Counted(DeepPrefix):
        def class_text(self, *args):
            calls.append(1)
            return super().class_text(*args)

    Counted(HAND, how=Descent(epochs=3, batch=2)).fit(MODEL, NAMES, TRAIN)
    assert len(calls) == 1
    Counted(HAND, BOTH, how=Descent(epochs=3, batch=2)).fit(MODEL, NAMES, TRAIN)
    assert len(calls) == 1 + 12


def test_its_features_and_text_feed_heads_and_mix_with_no_others():
    learner = DeepPrefix(HAND, how=Descent(epochs=1)).fit(MODEL, NAMES, TRAIN)
    x, text = learner.image_features(MODEL, TRAIN), learner.text(MODEL, NAMES)
    torch.testing.assert_close(ZeroShot().fit(None, text).logits(x), MODEL.scale * x.z @ text.W_CD.T)
    assert torch.equal(x.y, Y)
    assert len(learner.image_features(MODEL, TRAIN.x[:0])) == 0
    with pytest.raises(EncoderMismatch):
        ZeroShot().fit(None, text).logits(Features(MODEL.image(TRAIN.x).z_BD, encoder=MODEL.fingerprint))
    with pytest.raises(ValueError, match="context is a template"):
        DeepPrefix(4).fit(MODEL, NAMES, TRAIN)
