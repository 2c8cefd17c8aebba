"""transformers' other dual encoders (ALIGN, AltCLIP, SigLIP 2 NaFlex, …), used as they come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pairwright.models.dual import DualEncoder
from pairwright.models.load import hf, words
from pairwright.models.preprocess import Preprocess
from pairwright.models.towers.wrapped import Wrapped, pooled


def from_transformers(folder: Path, config: Mapping[str, Any], name: str) -> DualEncoder:
    """Any transformers model with ``get_image_features`` and ``get_text_features``, from safetensors, without running code of its own."""
    try:
        from transformers import AutoModel
    except ImportError:
        raise ValueError(
            f"{name} is a {config.get('model_type')!r} model, which needs transformers: pip install 'pairwright[hf]'"
        ) from None
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"{folder} holds no safetensors checkpoint: convert it first (pairwright does not unpickle)")
    model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, trust_remote_code=False).eval()
    if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
        raise ValueError(f"{name} is a {type(model).__name__}, which is not a dual encoder of images and texts")
    vision = config.get("vision_config") or {}
    size = vision.get("image_size", 224)
    with torch.no_grad():
        context = (config.get("text_config") or {}).get("max_position_embeddings", 77)
        width = pooled(model.get_image_features(torch.zeros(1, 3, size, size))).shape[-1]
    image, text = _halves(model)
    scale = getattr(model, "logit_scale", None)
    bias = getattr(model, "logit_bias", None)
    preprocess = Preprocess.of(hf.preprocess_config(folder, {"size": size, "pool": "tok"}))
    return DualEncoder(
        {
            "image": Wrapped(image, width, name=f"the image tower of {name}", encode=model.get_image_features),
            "text": Wrapped(text, width, name=f"the text tower of {name}", encode=model.get_text_features),
        },
        logit_scale=2.6593 if scale is None else float(scale.detach()),
        logit_bias=None if bias is None else float(bias.detach()),
        preprocess=preprocess,
        tokenizer=words.for_folder(folder, None, min(context, 77)),
        config={"transformers": str(folder), "preprocess_cfg": preprocess.config},
    )


def _halves(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The model's children, dealt to the image side by name and to the text side otherwise."""
    sides: tuple[dict[str, nn.Module], dict[str, nn.Module]] = ({}, {})
    for name, child in model.named_children():
        sides[0 if name.startswith(("vision", "visual", "image")) else 1][name] = child
    return nn.ModuleDict(sides[0]), nn.ModuleDict(sides[1])
