"""Recipes that need class names only: support sets for SuS-X and CapS-Adapter, contexts for PerceptionCLIP."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from pairwright.core.encoded import Encoded
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.cascade_cache import CascadeCache
from pairwright.heads.cache.mixed_keys import MixedKeys
from pairwright.heads.cache.tip_x import TipX
from pairwright.recipes.cafo import believed, cafo
from pairwright.recipes.perceptionclip import perceptionclip
from pairwright.recipes.sus_x import caps_adapter, class_captions, generated, retrieved, sus_x

SIM = simulate(0, classes=5, width=12, pool_per_class=6)


def embed(prompts):
    """A stand-in for a text tower: a fixed random unit vector for each prompt."""
    return Encoded(torch.stack([unit(torch.randn(12, generator=generator(p))) for p in prompts]))


MODEL = SimpleNamespace(tokenizer=lambda rows: Tokens(rows), text=embed, scale=16.0, fingerprint="stand-in", device="cpu")


class Tokens(list):
    def to(self, device):
        return self


def test_retrieved_rows_are_the_nearest_and_have_one_label_each():
    got = retrieved(SIM.text, SIM.pool, 4)
    cosine = SIM.pool.z @ SIM.text.W_CD.T
    expected = {}
    for c in range(5):
        for n in sorted(range(len(SIM.pool)), key=lambda n: -float(cosine[n, c]))[:4]:
            if n not in expected or cosine[n, c] > cosine[n, expected[n]]:
                expected[n] = c
    assert {i: int(y) for i, y in zip(got.ids, got.y)} == {SIM.pool.ids[n]: c for n, c in expected.items()}
    assert len(retrieved(SIM.text, SIM.pool.rows([]), 4)) == 0
    with pytest.raises(ValueError, match="at least 1"):
        retrieved(SIM.text, SIM.pool, 0)


def make(name, n, caption=True):
    rows = SIM.train.rows((SIM.train.y == SIM.text.names.index(name)).nonzero().squeeze(1)[:n])
    return Features(rows.z, encoder=rows.encoder, side={"caption": rows.z} if caption else {})


def test_generated_rows_are_asked_for_by_name():
    got = generated(SIM.text, make, 3)
    first = torch.cat([SIM.train.z[SIM.train.y == c][:3] for c in range(5)])
    assert torch.equal(got.z, first)
    assert got.y.tolist() == [c for c in range(5) for _ in range(3)]
    assert torch.equal(got.side["caption"], first)


def test_sus_x_and_caps_adapter_are_their_heads_on_that_support():
    support = retrieved(SIM.text, SIM.pool, 4)
    assert torch.equal(sus_x(SIM.text, pool=SIM.pool, shots=4).logits(SIM.test), TipX().fit(support, SIM.text).logits(SIM.test))
    made = generated(SIM.text, make, 3)
    ours = caps_adapter(SIM.text, make, shots=3)
    assert torch.equal(ours.logits(SIM.test), MixedKeys().fit(made, SIM.text).logits(SIM.test))
    with pytest.raises(ValueError, match="either pool"):
        sus_x(SIM.text)
    with pytest.raises(ValueError, match="caption"):
        caps_adapter(SIM.text, lambda name, n: make(name, n, caption=False))


def test_class_captions_put_every_name_in_the_subjects_place():
    assert class_captions(["a sketch of {} at night"], ["cat", "dog"]) == {
        "cat": ["a sketch of cat at night"],
        "dog": ["a sketch of dog at night"],
    }
    with pytest.raises(ValueError, match="has no '"):
        class_captions(["a sketch"], ["cat"])


def test_perceptionclip_names_every_combination_and_averages_wordings():
    contexts = {"background": ["on land", ["on water", "at sea"]], "style": ["", "drawn"]}
    head, labels = perceptionclip(MODEL, ["cat", "dog"], contexts)
    assert labels == [("on land", ""), ("on land", "drawn"), ("on water", ""), ("on water", "drawn")]
    said = [["a photo of a dog, on land"], ["a photo of a dog, on land, drawn"], ["a photo of a dog, on water", "a photo of a dog, at sea"]]
    for k, wordings in enumerate(said):
        torch.testing.assert_close(head.prompts_[1, k], unit(embed(wordings).z_BD.sum(0)))
    assert head.contexts(torch.ones(3, 12)).shape == (3, 4)
    for wrong, match in (({}, "at least one"), ({"background": []}, "at least one"), ({"background": ["x", []]}, "no phrase")):
        with pytest.raises(ValueError, match=match):
            perceptionclip(MODEL, ["cat"], wrong)


def test_cafo_keeps_the_generated_rows_that_zero_shot_believes():
    made = generated(SIM.text, make, 4)
    p = (SIM.text.scale * made.z @ SIM.text.W_CD.T).softmax(1)
    kept = {n for c in range(5) for n in sorted(range(4 * c, 4 * c + 4), key=lambda n: -float(p[n, c]))[:2]}
    got = believed(made, SIM.text, 0.5)
    assert {tuple(z.tolist()) for z in got.z} == {tuple(made.z[n].tolist()) for n in kept}
    twice = lambda x: dataclasses.replace(x, side={"second": x.z[:, :7]})
    train, test = twice(SIM.train.rows(range(40, 60))), twice(SIM.test)
    both = Features(torch.cat([train.z, got.z]), torch.cat([train.y, got.y]), encoder=train.encoder)
    ours = cafo(train, SIM.text, lambda name, n: twice(make(name, n)), shots=4, head=CascadeCache(epochs=0))
    torch.testing.assert_close(ours.logits(test), CascadeCache(epochs=0).fit(twice(both), SIM.text).logits(test), rtol=1e-4, atol=1e-3)
    plain = cafo(train, SIM.text, head=CascadeCache(epochs=0))
    assert len(plain.keys_) == 20
    with pytest.raises(ValueError, match="second encoders"):
        cafo(train, SIM.text, make, head=CascadeCache(epochs=0))
    with pytest.raises(ValueError, match="share of generated"):
        believed(made, SIM.text, 0.0)
