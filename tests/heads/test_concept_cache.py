"""The visual concept cache against loops: the images of each concept, and the concepts of each image."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.numerics import generator, unit
from pairwright.heads.cache import concept_cache as module
from pairwright.heads.cache.concept_cache import concept_keys, shared_concepts

rows = lambda key, n: unit(torch.randn(n, 6, generator=generator("concepts", key)))
TRAIN, CONCEPTS, ASKED = rows("train", 8), rows("words", 4), rows("asked", 5)


def test_keys_are_the_images_nearest_to_each_concept():
    keys, concept = concept_keys(TRAIN, CONCEPTS, 3)
    assert concept.tolist() == [c for c in range(4) for _ in range(3)]
    for c in range(4):
        near = sorted(range(8), key=lambda i: -float(TRAIN[i] @ CONCEPTS[c]))[:3]
        assert torch.equal(keys[concept == c], TRAIN[near])
    assert concept_keys(TRAIN[:2], CONCEPTS, 3)[0].shape == (8, 6)
    with pytest.raises(ValueError, match="at least one key"):
        concept_keys(TRAIN, CONCEPTS, 0)


@pytest.mark.parametrize("block", [12, 2**24])
def test_shared_concepts_are_those_of_the_nearest_keys(block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    keys, concept = concept_keys(TRAIN, CONCEPTS, 3)
    found = shared_concepts(ASKED, keys, concept, 5, 3)  # the fifth concept has no key
    for z, said in zip(ASKED, found.tolist(), strict=True):
        best = {c: max(float(z @ k) for k, owner in zip(keys, concept.tolist(), strict=True) if owner == c) for c in range(4)}
        assert said == sorted(best, key=lambda c: (-round(best[c], 5), c))[:3]
    assert shared_concepts(ASKED, keys, concept, 5, 5)[:, -1].tolist() == [4] * 5
    with pytest.raises(ValueError, match="more concept words"):
        shared_concepts(ASKED, keys, concept, 5, 6)
