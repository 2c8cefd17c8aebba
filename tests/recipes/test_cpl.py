"""CPL against one image at a time: nearest keys by loops, prompts encoded one by one, the projector as a torch decoder in words."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.functional import layer_norm

from pairwright.core.features import EncoderMismatch, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.cache.concept_cache import concept_keys, shared_concepts
from pairwright.models.tiny import tiny
from pairwright.prompts.tokens import hand_text
from pairwright.recipes.cpl import CPL

NAMES, WORDS, HAND = ["circle", "square", "star"], ("red", "blue", "striped", "small"), "a photo of a {}"
MODEL = tiny(4, width=16, dim=32, vocab=256, context=12).requires_grad_(False)
RNG = generator("cpl test")
SIDE = {"layer": torch.randn(12, 20, generator=RNG)}
TRAIN = Features(unit(torch.randn(12, 32, generator=RNG)), torch.arange(12) % 3, encoder=MODEL.fingerprint, side=SIDE)
FITTED = CPL(keys=3, words=2, template=HAND, alpha=0.7, levels=("layer",), hidden=8, lr=0.02, epochs=8).fit(MODEL, NAMES, TRAIN, WORDS)


def words_by_loops(z_D: torch.Tensor, keys: int, words: int) -> list[int]:
    """The places of the concepts with the nearest key image."""
    text_VD = hand_text(MODEL, WORDS, HAND)
    nearest = []
    for v in range(len(WORDS)):
        own = sorted(TRAIN.z.tolist(), key=lambda row, v=v: -float(torch.tensor(row) @ text_VD[v]))[:keys]
        nearest.append(max(float(torch.tensor(row) @ z_D) for row in own))
    return sorted(range(len(WORDS)), key=lambda v: -nearest[v])[:words]


def test_prompts_name_the_concepts_of_the_nearest_keys_and_the_projector_moves_them():
    logits, p = FITTED.logits(MODEL, NAMES, TRAIN), FITTED.projector_
    assert p["out"].abs().max() > 1e-3  # it learned
    for i, z_D in enumerate(TRAIN.z):
        words = words_by_loops(z_D, 3, 2)
        assert FITTED.concepts_of(TRAIN.z)[i].tolist() == words
        levels = [(z_D, "last"), (unit(SIDE["layer"][i]), "layer")]
        for c, name in enumerate(NAMES):
            text_D = MODEL.text(MODEL.tokenizer([f"a photo of a {WORDS[words[0]]} {WORDS[words[1]]} {name}"])).z_BD[0]
            asked = [float((text_D @ p["query"]) @ (h @ p[f"key {level}"])) / 8**0.5 for h, level in levels]
            weight = torch.tensor(asked).softmax(0)
            seen_D = sum(w * (h @ p[f"value {level}"]) for w, (h, level) in zip(weight, levels))
            moved_D = unit(text_D + 0.7 * (layer_norm(text_D + seen_D, (32,)) @ p["in"]).relu() @ p["out"])
            torch.testing.assert_close(logits[i, c], MODEL.scale * moved_D @ z_D, rtol=1e-4, atol=1e-4)


def test_without_concepts_and_projector_it_is_the_class_name_prompt():
    expected = MODEL.scale * TRAIN.z @ hand_text(MODEL, ["moon", "star"], HAND).T
    for plain in (CPL(template=HAND, alpha=0.0), CPL(template=HAND, epochs=0), CPL(words=0, template=HAND, epochs=0)):
        found = plain.fit(MODEL, NAMES, TRAIN, WORDS if plain.words == 0 else ()).logits(MODEL, ["moon", "star"], TRAIN)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    start = CPL(template=HAND).fit(MODEL, NAMES, TRAIN.rows([]), WORDS)
    torch.testing.assert_close(start.logits(MODEL, ["moon", "star"], TRAIN), expected, rtol=1e-4, atol=1e-4)


def test_rows_and_classes_do_not_see_each_other():
    whole = FITTED.logits(MODEL, NAMES, TRAIN)
    torch.testing.assert_close(torch.cat([FITTED.logits(MODEL, NAMES, TRAIN.rows([i])) for i in range(4)]), whole[:4], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(FITTED.logits(MODEL, [NAMES[2], NAMES[0]], TRAIN), whole[:, [2, 0]], rtol=1e-4, atol=1e-4)
    assert FITTED.logits(MODEL, NAMES, TRAIN.rows([])).shape == (0, 3)


def test_concepts_without_keys_come_last():
    keys_KD, concept_K = concept_keys(TRAIN.z, TRAIN.z[:2], 1)
    assert torch.equal(keys_KD, TRAIN.z[:2])  # every row is nearest to itself
    assert concept_K.tolist() == [0, 1]
    assert shared_concepts(TRAIN.z[1:2], keys_KD, concept_K + 1, 3, 3).tolist() == [[2, 1, 0]]


def test_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="not fitted"):
        CPL().logits(MODEL, NAMES, TRAIN)
    with pytest.raises(ValueError, match="name fewer"):
        CPL(words=5).fit(MODEL, NAMES, TRAIN, WORDS)
    with pytest.raises(ValueError, match="at least one key"):
        CPL(keys=0).fit(MODEL, NAMES, TRAIN, WORDS)
    with pytest.raises(ValueError, match="more concept words"):
        shared_concepts(TRAIN.z, TRAIN.z, torch.zeros(12, dtype=torch.int64), 1, 2)
    with pytest.raises(ValueError, match="side features 'layer'"):
        FITTED.logits(MODEL, NAMES, dataclasses.replace(TRAIN, side={}))
    with pytest.raises(EncoderMismatch):
        FITTED.logits(MODEL, NAMES, dataclasses.replace(TRAIN, encoder="another"))
