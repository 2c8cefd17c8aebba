"""StyleTokens against numpy statistics, one image at a time with tokens made by torch networks, and its limit, CoOp."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent, scores
from pairwright.prompts.images import Images
from pairwright.prompts.persist import load_prompts, save_prompts
from pairwright.prompts.style_features import encoded, statistics, statistics_of, style_features
from pairwright.prompts.style_tokens import StyleTokens

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(3, image="vit", size=8, patch=4, width=16, dim=32, layers=3, vocab=256, context=12).requires_grad_(False)
PICTURES = Images(torch.randn(6, 3, 8, 8, generator=generator("styles")), torch.arange(6) % 3)
TRAIN = style_features(MODEL, PICTURES, chunk=4)
HOW = Descent(lr=0.05, epochs=4, batch=2)


def make(**more) -> StyleTokens:
    return StyleTokens(more.pop("context", HAND), reduce=8, how=HOW, **more).fit(MODEL, NAMES, TRAIN)


@pytest.mark.parametrize(("context", "places"), [(HAND, [0, 1, 2]), (2, [0, 0, 1])], ids=["four places", "two places"])
@pytest.mark.parametrize("content", ["text", "tokens", "none"])
def test_every_image_has_the_text_of_its_own_tokens(context, places, content):
    fitted = make(context=context, content=content)
    ids = fitted.ids(MODEL, NAMES)
    logits = fitted.logits(MODEL, NAMES, TRAIN, chunk=4)
    stats = [TRAIN.side[f"style@{layer}"] for layer in range(3)]
    moved = []
    for i, z in enumerate(TRAIN.z):
        tokens, mean = fitted.context_.clone(), torch.zeros(fitted.content_.shape[1]) + fitted.content_bias_
        for layer, place in enumerate(places):
            centre = stats[layer].mean(0)
            size = (stats[layer] - centre).square().sum(1).mean().sqrt()
            s = (stats[layer][i] - centre) / size
            net = nn.Sequential(nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 16))
            weights = (fitted.down_, fitted.down_bias_, fitted.up_, fitted.up_bias_)
            net.load_state_dict(dict(zip(("0.weight", "0.bias", "2.weight", "2.bias"), (w[layer] for w in weights))))
            tokens[place] += net(s).detach()
            mean = mean + fitted.content_[layer] @ s[:16]
        emb = MODEL.embed_tokens(ids).clone()
        emb[:, 1 : 1 + len(tokens)] = tokens + (mean if content == "tokens" else 0)
        text = MODEL.text_from(emb, MODEL.towers["text"].eot(ids)).z_BD
        text = unit(text + mean) if content == "text" else text
        torch.testing.assert_close(logits[i], MODEL.logit_scale.exp() * text @ z, rtol=1e-4, atol=1e-4)
        moved.append(text)
    assert (moved[0] - moved[1]).abs().max() > 1e-3  # it learned to look at the image


@pytest.mark.parametrize("content", ["text", "tokens"])
def test_strength_0_is_coop(content):
    ours, plain = make(strength=0.0, content=content), CoOp(HAND, how=HOW).fit(MODEL, NAMES, TRAIN)
    torch.testing.assert_close(ours.context_, plain.context_, rtol=1e-4, atol=1e-6)
    expected = scores(plain.text(MODEL, NAMES).W_CD, TRAIN.z, MODEL.scale)
    torch.testing.assert_close(ours.logits(MODEL, NAMES, TRAIN), expected, rtol=1e-4, atol=1e-4)
    unlearned = StyleTokens(HAND, content=content, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    hand = CoOp(HAND, how=Descent(epochs=0)).fit(MODEL, NAMES, TRAIN)
    expected = scores(hand.text(MODEL, NAMES).W_CD, TRAIN.z, MODEL.scale)
    torch.testing.assert_close(unlearned.logits(MODEL, NAMES, TRAIN), expected, rtol=1e-4, atol=1e-4)


def test_order_of_patches_does_not_matter_and_style_does():
    tokens = torch.randn(2, 5, 4, generator=generator("patches"))
    torch.testing.assert_close(statistics(tokens.flip(1)), statistics(tokens))
    fitted = make()
    other = dataclasses.replace(TRAIN, side={name: s.roll(1, 0) for name, s in TRAIN.side.items()})
    assert (fitted.logits(MODEL, NAMES, other) - fitted.logits(MODEL, NAMES, TRAIN)).abs().max() > 1e-3


def test_rows_without_statistics_are_one_patch_in_one_layer():
    bare = dataclasses.replace(TRAIN, side={})
    torch.testing.assert_close(statistics_of(encoded(bare, MODEL)), torch.cat([bare.z, 0 * bare.z], 1)[:, None])
    fitted = StyleTokens(HAND, how=HOW).fit(MODEL, NAMES, bare)
    assert fitted.down_.shape == (1, 10, 64)
    with pytest.raises(ValueError, match="style_features"):
        fitted.logits(MODEL, NAMES, TRAIN)


def test_statistics_are_stored_and_learned_tokens_saved(tmp_path):
    fitted = make()
    save_prompts(fitted, tmp_path / "style.safetensors")
    TRAIN.save(tmp_path / "rows.safetensors")
    again, rows = load_prompts(tmp_path / "style.safetensors"), type(TRAIN).load(tmp_path / "rows.safetensors")
    assert torch.equal(again.logits(MODEL, NAMES, rows), fitted.logits(MODEL, NAMES, TRAIN))


def test_refuses_what_it_cannot_do():
    fitted = make()
    with pytest.raises(ValueError, match="logits"):
        fitted.text(MODEL, NAMES)
    with pytest.raises(ValueError, match="depends on the image"):
        fitted.class_text(MODEL, fitted.ids(MODEL, NAMES))
    with pytest.raises(ValueError, match="shares its context"):
        make(per_class=True)
    with pytest.raises(ValueError, match="choose text, tokens or none"):
        make(content="both")
    with pytest.raises(ValueError, match="load a plain ViT"):
        style_features(tiny(0, size=8, width=16, dim=16), PICTURES)
    with pytest.raises(ValueError, match="differ in width"):
        make_on(side={**TRAIN.side, "style@2": torch.ones(6, 8)})
    with pytest.raises(ValueError, match="row 2"):
        make_on(side={**TRAIN.side, "style@1": TRAIN.side["style@1"].index_fill(0, torch.tensor([2]), float("nan"))})
    assert fitted.logits(MODEL, NAMES, TRAIN.rows([])).shape == (0, 3)


def make_on(**changed) -> StyleTokens:
    return StyleTokens(HAND, how=HOW).fit(MODEL, NAMES, dataclasses.replace(TRAIN, **changed))
