"""Our towers give open_clip's numbers for the state dict of every family, on random weights; what we cannot express is wrapped."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn

from pairwright.models.dual import DualEncoder
from pairwright.models.load import load, save
from pairwright.models.load.build import from_open_clip
from pairwright.models.load.catalog import models
from pairwright.models.load.spec import image_spec, text_spec, tower
from pairwright.models.towers.text import TextTransformer
from pairwright.models.towers.timm_image import TimmImage
from pairwright.models.towers.vit import VisionTransformer
from pairwright.models.towers.wrapped import Wrapped

VISION = {"image_size": 64, "patch_size": 16, "width": 64, "layers": 3, "head_width": 16}
TEXT = {"context_length": 16, "vocab_size": 100, "width": 48, "heads": 4, "layers": 2}
SIGLIP_TEXT = {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
EOS = {"pool_type": "eos", "eos_id": 99}


def small_vit(**kwargs: object) -> TimmViT:
    model = TimmViT(img_size=48, patch_size=16, embed_dim=48, depth=2, num_heads=3, **kwargs)
    model.default_cfg = {"input_size": (3, 48, 48)}
    return model


@register_model
def small_siglip(pretrained: bool, num_classes: int = 10, global_pool: str = "map", **_: object) -> TimmViT:
    """SigLIP 2's image tower in small: no class token, attention pooling, tanh GELU, an odd feed-forward width."""
    return small_vit(mlp_ratio=181 / 48, class_token=False, act_layer="gelu_tanh", num_classes=num_classes, global_pool=global_pool)


@register_model
def small_clip(pretrained: bool, num_classes: int = 10, global_pool: str = "token", **_: object) -> TimmViT:
    """CLIP's image tower in timm's words (as MobileCLIP2 L has it)."""
    return small_vit(pre_norm=True, num_classes=num_classes, global_pool=global_pool)


def cfg(vision: dict, text: dict, **more: object) -> dict:
    return {"embed_dim": 32, "vision_cfg": {**VISION, **vision}, "text_cfg": {**TEXT, **text}} | more


def timm(name: str, size: int, **more: object) -> dict:
    return {"timm_model_name": name, "image_size": size, **more}


# family: (model_cfg, kind of our image tower, kind of our text tower)
FAMILIES = {
    "openai": (cfg({}, {}, quick_gelu=True), VisionTransformer, TextTransformer),
    "laion": (cfg({}, {}), VisionTransformer, TextTransformer),
    "patch 14": (cfg({"image_size": 30, "patch_size": 14}, {}), VisionTransformer, TextTransformer),
    "not square": (cfg({"image_size": [32, 64]}, {}), VisionTransformer, TextTransformer),
    "clipa": (
        cfg({"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}, {"no_causal_mask": True, "pool_type": "last"}),
        VisionTransformer,
        TextTransformer,
    ),
    "layer scale, eos": (cfg({"ls_init_value": 1e-4, "pool_type": "avg"}, EOS, custom_text=True), VisionTransformer, TextTransformer),
    "tanh text": (cfg({}, {"act_kwargs": {"approximate": "tanh"}, "proj_type": "none", "width": 32}), VisionTransformer, TextTransformer),
    "siglip": (
        {
            **cfg(timm("small_siglip", 48, timm_pool="map", timm_proj="none"), SIGLIP_TEXT, custom_text=True, init_logit_bias=-10),
            "embed_dim": 48,
        },
        VisionTransformer,
        TextTransformer,
    ),
    "timm clip": (cfg(timm("small_clip", 48, timm_pool="token", timm_proj=None), {}), VisionTransformer, TextTransformer),
    "timm vit, average": (cfg(timm("small_clip", 48, timm_pool="avg", timm_proj=""), {}), VisionTransformer, TextTransformer),
    "timm vit, linear": (cfg(timm("test_vit", 160, timm_pool="token", timm_proj="linear"), {}), VisionTransformer, TextTransformer),
    "timm vit, own head": (cfg(timm("test_vit", 160, timm_pool="token", timm_proj=""), {}), VisionTransformer, TextTransformer),
    "timm vit, mlp": (cfg(timm("test_vit", 160, timm_pool="token", timm_proj="mlp"), {}), TimmImage, TextTransformer),
    "registers": (cfg(timm("test_vit2", 160, timm_pool="avg", timm_proj="linear"), {}), TimmImage, TextTransformer),
    "convnext": (cfg(timm("test_convnext", 64, timm_pool="", timm_proj="linear"), {}), TimmImage, TextTransformer),
    "relative positions": (cfg(timm("test_vit_relpos", 160, timm_pool="", timm_proj="linear"), {}), TimmImage, TextTransformer),
    "rot_attn": (cfg(timm("resnet10t", 64, timm_pool="rot_attn", timm_proj=""), {}), Wrapped, TextTransformer),
    "openai resnet": (cfg({"layers": [1, 1, 1, 1], "width": 16, "head_width": 64}, {}), Wrapped, TextTransformer),
    "coca": (
        cfg(
            {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
            {"embed_cls": True, "output_tokens": True},
            custom_text=True,
            multimodal_cfg={"context_length": 16, "vocab_size": 100, "width": 48, "heads": 4, "layers": 1},
        ),
        Wrapped,
        Wrapped,
    ),
    "qk norm": (cfg({"qk_norm": True}, {"qk_norm": True}, custom_text=True), Wrapped, Wrapped),
}


def reference(model_cfg: dict) -> nn.Module:
    """open_clip's own model with random weights in which no parameter is zero or one."""
    c = json.loads(json.dumps(model_cfg))
    custom = c.pop("custom_text", False)
    torch.manual_seed(0)
    model = (CoCa if "multimodal_cfg" in c else CustomTextCLIP if custom else CLIP)(**c).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.02)
    return model


def inputs(model_cfg: dict) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    size = model_cfg["vision_cfg"]["image_size"]
    hw = (size, size) if isinstance(size, int) else tuple(size)
    ids = torch.randint(1, 90, (3, model_cfg["text_cfg"]["context_length"]), generator=g)
    for row, end in enumerate((5, 9, 15)):
        ids[row, end], ids[row, end + 1 :] = 99, 0
    return torch.randn(2, 3, *hw, generator=g), ids


@torch.no_grad()
def compare(theirs: nn.Module, ours: DualEncoder, x: torch.Tensor, ids: torch.Tensor) -> None:
    for want, got in ((theirs.encode_image(x, normalize=False), ours.image(x)), (theirs.encode_text(ids, normalize=False), ours.text(ids))):
        if isinstance(theirs, CoCa):  # its encoders always normalise
            got_raw = got.z_BD
            want = torch.nn.functional.normalize(want, dim=-1)
        else:
            got_raw = got.z_BD * got.norm_B[:, None]
        assert want.std() > 1e-3
        torch.testing.assert_close(got_raw, want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_same_numbers_and_back(family: str, tmp_path: Path) -> None:
    model_cfg, image_kind, text_kind = FAMILIES[family]
    theirs = reference(model_cfg)
    ours = from_open_clip(model_cfg, {}, theirs.state_dict(), name=family)
    assert type(ours.towers["image"]) is image_kind
    assert type(ours.towers["text"]) is text_kind
    x, ids = inputs(model_cfg)
    compare(theirs, ours, x, ids)
    assert ours.scale.item() == pytest.approx(theirs.logit_scale.exp().item())
    assert (ours.logit_bias is None) == (theirs.logit_bias is None)
    # saved in hub layout, open_clip itself reads it and gives the same
    save(ours, tmp_path)
    again = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    compare(again, ours, x, ids)
    assert load(tmp_path).fingerprint == ours.fingerprint


def test_positions_of_another_grid_are_interpolated_as_open_clip_does() -> None:
    small, large = cfg({}, {}), cfg({"image_size": 96}, {})
    state = reference(small).state_dict()
    theirs = reference(large)
    resized = dict(state)
    open_clip.model.resize_pos_embed(resized, theirs)
    theirs.load_state_dict(resized)
    with pytest.warns(UserWarning, match="4x4 grid to 6x6"):
        ours = from_open_clip(large, {}, state)
    compare(theirs, ours, *inputs(large))


def test_what_a_wrapped_tower_lacks_is_said() -> None:
    model_cfg = FAMILIES["openai resnet"][0]
    model = from_open_clip(model_cfg, {}, None, name="RN-small")
    assert model.towers["image"].points == frozenset()
    with pytest.raises(ValueError, match="the image tower of RN-small is used as it comes and lacks tokens"):
        model.image(inputs(model_cfg)[0], tokens=True)


def test_every_plain_vit_of_open_clip_gets_our_towers() -> None:
    """By name: all ViT-*, SigLIP and CLIPA architectures; resnets and CoCa's text towers are open_clip's own."""
    kinds = {}
    for info in models():
        if "SigLIP" in info.name and info.name not in ("ViT-B-16-SigLIP", "ViT-SO400M-16-SigLIP2-256"):
            continue  # one of each family is enough, timm builds slowly
        c = open_clip.get_model_config(info.name)
        if info.name.startswith("ViT-") or info.name.startswith(("RN", "coca")):
            kinds[info.name] = ((image_spec(c) or {}).get("kind"), (text_spec(c) or {}).get("kind"))
    for name, kind in kinds.items():
        want = ("vit", "text") if name.startswith("ViT-") else (None, "text") if name.startswith("RN") else (kind[0], None)
        assert kind == want, name
    assert len(kinds) > 50
    so400m = image_spec(open_clip.get_model_config("ViT-SO400M-16-SigLIP2-256"))
    assert (so400m["act"], so400m["pool"], so400m["ln_pre"], so400m["patch_bias"]) == ("gelu_tanh", "map", False, True)
    with torch.device("meta"):
        assert tower(so400m).transformer.resblocks[0].mlp.c_fc.out_features == 4304


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16-SigLIP", "ViT-B-32-SigLIP2-256", "ViT-L-14-CLIPA"])
def test_real_architectures(name: str) -> None:
    theirs = open_clip.create_model(name, pretrained=None).eval()
    c = open_clip.get_model_config(name)
    ours = from_open_clip(c, {}, theirs.state_dict(), name=name)
    assert ours.towers["image"].points >= {"deep", "mix", "attend"}
    size = c["vision_cfg"]["image_size"]
    ids = torch.randint(1, 30000, (2, c["text_cfg"]["context_length"]))
    ids[:, 8:] = 0
    compare(theirs, ours, torch.randn(2, 3, size, size), ids)
