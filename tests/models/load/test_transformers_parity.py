"""transformers' CLIP and SigLIP folders: the same numbers as transformers, on random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pairwright.models.dual import DualEncoder
from pairwright.models.load import load, save
from pairwright.models.towers.vit import VisionTransformer
from pairwright.models.towers.wrapped import Wrapped, pooled

transformers = pytest.importorskip("transformers")

VISION = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
TEXT = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 12,
    "bos_token_id": 98,
    "eos_token_id": 99,
    "pad_token_id": 99,
}
FAMILIES = {
    "clip": lambda: transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24),
    "clip before 4.31": lambda: transformers.CLIPConfig(text_config={**TEXT, "eos_token_id": 2}, vision_config=VISION, projection_dim=24),
    "clip gelu": lambda: transformers.CLIPConfig(
        text_config={**TEXT, "hidden_act": "gelu"}, vision_config={**VISION, "hidden_act": "gelu"}, projection_dim=24
    ),
    "siglip": lambda: transformers.SiglipConfig(text_config={**TEXT, "projection_size": 48}, vision_config=VISION),
}


def folder(config: object, path: Path, *, bias: bool = True) -> torch.nn.Module:
    """A transformers model folder with random weights, none of them zero."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    model.save_pretrained(path)
    return model


def ids() -> torch.Tensor:
    out = torch.randint(1, 90, (3, 12), generator=torch.Generator().manual_seed(2))
    for row, end in enumerate((4, 7, 11)):
        out[row, end:] = 99  # transformers pads CLIP's texts with the end token
    return out


@torch.no_grad()
def compare(theirs: torch.nn.Module, ours: DualEncoder, words: torch.Tensor) -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    pairs = ((theirs.get_image_features(pixel_values=x), ours.image(x)), (theirs.get_text_features(input_ids=words), ours.text(words)))
    for output, got in pairs:
        want = pooled(output)
        assert want.std() > 1e-3
        torch.testing.assert_close(got.z_BD * got.norm_B[:, None], want, atol=1e-4, rtol=0)
    logits = theirs(pixel_values=x, input_ids=words).logits_per_image
    torch.testing.assert_close(ours.logits(ours.image(x), ours.text(words)), logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_same_numbers_as_transformers(family: str, tmp_path: Path) -> None:
    theirs = folder(FAMILIES[family](), tmp_path / "hf")
    ours = load(tmp_path / "hf")
    assert isinstance(ours.towers["image"], VisionTransformer)
    assert (ours.logit_bias is None) == ("clip" in family.split()[0] and not family.startswith("siglip"))
    compare(theirs, ours, ids())
    save(ours, tmp_path / "ours")
    again = load(tmp_path / "ours")
    assert again.fingerprint == ours.fingerprint
    compare(theirs, again, ids())


def test_a_clip_folder_of_transformers_becomes_one_of_open_clip(tmp_path: Path) -> None:
    import open_clip

    theirs = folder(FAMILIES["clip"](), tmp_path / "hf")
    save(load(tmp_path / "hf"), tmp_path / "ours")
    model = open_clip.create_model(f"local-dir:{tmp_path / 'ours'}").eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.encode_text(ids()), pooled(theirs.get_text_features(input_ids=ids())), atol=1e-4, rtol=0)
        torch.testing.assert_close(model.encode_image(x), pooled(theirs.get_image_features(pixel_values=x)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_preprocessing_of_the_folder_is_transformers_own(family: str, tmp_path: Path) -> None:
    folder(FAMILIES[family](), tmp_path)
    name, size = {
        "clip": ("CLIPImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
        "siglip": ("SiglipImageProcessor", {"size": {"height": 32, "width": 32}}),
    }[family]
    # transformers 5 keeps the PIL one beside torchvision's
    theirs = getattr(transformers, f"{name}Pil", getattr(transformers, name))(**size)
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path).preprocess
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (70, 101, 3), dtype=np.uint8))
    want = torch.from_numpy(np.asarray(theirs(image)["pixel_values"][0]))
    std = torch.tensor(ours.std).view(3, 1, 1)
    assert ((ours(image) - want) * std).abs().max() <= 1.01 / 255


def test_another_dual_encoder_is_wrapped_and_gives_its_own_numbers(tmp_path: Path) -> None:
    config = transformers.AltCLIPConfig(
        text_config={**TEXT, "project_dim": 24, "max_position_embeddings": 20, "pad_token_id": 1}, vision_config=VISION, projection_dim=24
    )
    theirs = folder(config, tmp_path)
    ours = load(tmp_path)
    assert isinstance(ours.towers["image"], Wrapped)
    words = torch.randint(3, 90, (2, 8))
    compare(theirs, ours, words)
    assert sum(p.numel() for p in ours.parameters()) + theirs.logit_scale.numel() >= sum(p.numel() for p in theirs.parameters())
    with pytest.raises(ValueError, match="lacks tokens"):
        ours.text(words, tokens=True)


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither open_clip_config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not readable JSON"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load(tmp_path)
