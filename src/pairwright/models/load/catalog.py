"""The models that can be named: the shipped one and open_clip's architectures with their pretrained tags."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHIPPED = ("sprout",)


@dataclass(frozen=True)
class ModelInfo:
    """One architecture: name, pretrained tags, image size in pixels, joint width D, encoder widths.

    An encoder width is None where timm or transformers decide it."""

    name: str
    tags: tuple[str, ...]
    size: int | tuple[int, int]
    width: int
    image_width: int | None
    text_width: int | None

    @functools.cached_property
    def params(self) -> int | None:
        """Number of parameters, counted without allocating them; None where a Hugging Face config would have to be downloaded."""
        import open_clip
        import torch

        from pairwright.models.load.build import from_open_clip

        try:
            with torch.device("meta"):
                model = from_open_clip(open_clip.get_model_config(self.name), {}, None, name=self.name)
        except FileNotFoundError:
            return None
        return sum(p.numel() for p in model.parameters())


def models(name: str = "") -> list[ModelInfo]:
    """List open_clip's architectures whose name contains `name` (any case), with tags, image size and widths."""
    import open_clip

    tags: dict[str, list[str]] = {}
    for arch, tag in open_clip.list_pretrained():
        tags.setdefault(arch, []).append(tag)
    found = [n for n in open_clip.list_models() if name.lower() in n.lower()]
    return [_info(n, open_clip.get_model_config(n), tuple(tags.get(n, ()))) for n in found]


def _info(name: str, cfg: Mapping[str, Any], tags: tuple[str, ...]) -> ModelInfo:
    vision, text = cfg["vision_cfg"], cfg["text_cfg"]
    image_width = None if vision.get("timm_model_name") else vision.get("width", 768)
    text_width = None if text.get("hf_model_name") else text.get("width", 512)
    return ModelInfo(name, tags, vision.get("image_size", 224), cfg["embed_dim"], image_width, text_width)


def suggest(name: str) -> str:
    """Close names for an error message."""
    import open_clip

    known = {n.lower(): n for n in (*SHIPPED, *open_clip.list_models())}
    close = [known[k] for k in difflib.get_close_matches(name.lower(), known, n=5, cutoff=0.5)]
    return ", ".join(close) or "sprout, ViT-B-32, ViT-B-16-SigLIP"


def available() -> list[str]:
    """Every name that `load` takes without a path: the shipped model, then architecture/tag."""
    return [*SHIPPED, *(f"{m.name}/{tag}" for m in models() for tag in m.tags)]
