"""Twins: seeded, small, savable, trainable; and the model object around them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from pairwright.models.dual import DualEncoder
from pairwright.models.load import available, load, models, save
from pairwright.models.preprocess import Preprocess
from pairwright.models.tiny import tiny
from pairwright.models.tokenize import BPETokenizer, train_bpe
from pairwright.models.towers.text import TextTransformer
from pairwright.models.towers.timm_image import TimmImage


@pytest.mark.parametrize("image", ["conv", "vit"])
def test_same_seed_same_model_and_the_callers_random_state_is_untouched(image: str) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    a, b, c = tiny(1, image=image), tiny(1, image=image), tiny(2, image=image)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert 1e5 < sum(p.numel() for p in a.parameters()) < 3e6


@pytest.mark.parametrize("image", ["conv", "vit"])
def test_a_twin_learns_to_tell_pairs_apart(image: str) -> None:
    model = tiny(0, image=image, width=32, dim=16).train()
    x = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)).repeat_interleave(8, 2).repeat_interleave(8, 3)
    ids = model.tokenizer([f"thing number {i} {'abcdefgh'[i]}" for i in range(8)])
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(60):
        loss = F.cross_entropy(model.logits(model.image(x), model.text(ids)), torch.arange(8))
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss < 0.2


@pytest.mark.parametrize("ask", [{"image": "conv"}, {"image": "vit"}, {"image": "vit", "tokenizer": "byte", "logit_bias": -5.0}])
def test_saved_and_loaded_it_is_the_same_model(ask: dict, tmp_path: Path) -> None:
    model = tiny(3, width=32, **ask)
    again = load(save(model, tmp_path))
    assert again.fingerprint == model.fingerprint
    assert again.preprocess == model.preprocess
    assert (again.logit_bias is None) == (model.logit_bias is None)
    assert again.scale.item() == pytest.approx(model.scale.item())
    texts = ["a red apple", "two blue squares"]
    assert torch.equal(again.tokenizer(texts), model.tokenizer(texts))
    assert ("model_cfg" in json.loads((tmp_path / "open_clip_config.json").read_text())) == (ask["image"] == "vit")


def test_a_sprout_like_folder_is_read_by_open_clip_with_the_same_numbers(tmp_path: Path) -> None:
    import open_clip

    train_bpe(["a red apple", "two green apples"] * 10, 300, tmp_path / "bpe")
    tokenizer = BPETokenizer(tmp_path / "bpe", 32)
    model = DualEncoder(
        {
            "image": TimmImage("test_convnext", 32, size=64),
            "text": TextTransformer(vocab=tokenizer.vocab_size, context=32, width=32, layers=2, heads=4, dim=32),
        },
        preprocess=Preprocess(64, resize_mode="longest", fill_color=255, on_white=True),
        tokenizer=tokenizer,
    ).eval()
    folder = save(model, tmp_path / "sprout")
    theirs, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    theirs.eval()
    words = ["a red apple", "Two green apples!"]
    ids = open_clip.get_tokenizer(f"local-dir:{folder}")(words)
    assert torch.equal(ids, tokenizer(words))
    x = torch.randn(2, 3, 64, 64)
    again = load(f"local-dir:{folder}")
    with torch.no_grad():
        for m in (model, again):
            torch.testing.assert_close(m.image(x).z_BD, theirs.encode_image(x, normalize=True), atol=1e-4, rtol=0)
            torch.testing.assert_close(m.text(ids).z_BD, theirs.encode_text(ids, normalize=True), atol=1e-4, rtol=0)
    from PIL import Image

    grey = Image.new("RGB", (50, 80), (90, 90, 90))
    torch.testing.assert_close(preprocess(grey), model.preprocess(grey), atol=0.02, rtol=0)
    assert again.fingerprint == model.fingerprint


def test_pseudo_words_and_token_embeddings_go_through_the_model_object() -> None:
    model = tiny(0, width=32)
    ids = model.tokenizer(["a red apple", "a blue square"])
    words = model.embed_tokens(ids)[:, 2:3]
    torch.testing.assert_close(model.text_with(ids, words, at=2).z_BD, model.text(ids).z_BD, atol=1e-6, rtol=0)
    swapped = model.text_with(ids, words.flip(0), at=2)
    torch.testing.assert_close(swapped.z_BD[0], model.text(model.tokenizer(["a blue apple"])).z_BD[0], atol=1e-6, rtol=0)


def test_a_model_that_nobody_could_read_again_is_not_written(tmp_path: Path) -> None:
    model = tiny(0, width=32)
    model.towers["image"] = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="cannot be written"):
        save(model, tmp_path)


def test_the_catalogue_lists_names_tags_sizes_and_parameters() -> None:
    (b32,) = [m for m in models("vit-b-32") if m.name == "ViT-B-32"]
    assert "laion2b_s34b_b79k" in b32.tags
    assert (b32.size, b32.width, b32.image_width, b32.text_width) == (224, 512, 768, 512)
    assert b32.params == 151_277_313  # as OpenAI's and open_clip's model cards say: 151 million
    assert "sprout" in available()
    assert "ViT-B-32/openai" in available()


@pytest.mark.parametrize("bad", [{"width": 30}, {"image": "swin"}, {"tokenizer": "bpe"}])
def test_bad_arguments(bad: dict) -> None:
    with pytest.raises(ValueError):
        tiny(0, **bad)
