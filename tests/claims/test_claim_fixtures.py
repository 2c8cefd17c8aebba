"""Fixture towers: the stored one is the trained one, and training is what the settings say."""

from __future__ import annotations

import pytest
import torch

from claims import fixtures
from pairwright.data.world.engine import World
from pairwright.data.world.grammar import ALL_WORDS

WORLD = World(0, size=16, objects=1, shapes=3, colours=3)
SMALL = {"width": 16, "samples": 3200, "batch": 64, "lr": 1e-2}


def test_tower_learns_is_stored_and_comes_back(tmp_path, monkeypatch):
    model = fixtures.tower(WORLD, folder=tmp_path, **SMALL)
    image, text = fixtures.embed(model, WORLD, 100, 10_000)
    positives = WORLD.sample(100, 10_000).groups
    hit = positives[(image @ text.T).argmax(1)] == positives
    assert hit.float().mean() > 0.5  # nine kinds of scene: chance 0.11
    monkeypatch.setattr(fixtures, "_train", None)  # a second call must not train
    again = fixtures.tower(WORLD, folder=tmp_path, **SMALL)
    assert again.fingerprint == model.fingerprint
    assert not again.training
    assert len(list(tmp_path.iterdir())) == 1


def test_other_settings_are_other_fixtures(tmp_path):
    few = {**SMALL, "samples": 128}
    prints = {
        fixtures.tower(w, seed=s, folder=tmp_path, **few).fingerprint for w, s in ((WORLD, 0), (WORLD, 1), (WORLD.but(shuffled=0.5), 0))
    }
    assert len(prints) == 3
    with pytest.raises(ValueError, match="less than one batch"):
        fixtures.tower(WORLD, folder=tmp_path, samples=10)


def test_inputs_are_what_the_preprocessing_makes():
    from PIL import Image

    model = fixtures._fresh(WORLD, 0, "conv", 16)
    images = WORLD.sample(3).images
    by_hand = torch.stack([model.preprocess(Image.fromarray(x.permute(1, 2, 0).numpy())) for x in images])
    torch.testing.assert_close(fixtures.inputs(model, images), by_hand, atol=1e-5, rtol=0)


def test_every_word_has_its_own_token():
    model = fixtures._fresh(WORLD, 0, "conv", 16)
    assert len(set(model.tokenizer(ALL_WORDS)[:, 1].tolist())) == len(ALL_WORDS)
