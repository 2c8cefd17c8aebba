"""Hugging Face model folders: their configs in open_clip's words, and their preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairwright.models.load.checkpoint import read_json
from pairwright.models.load.spec import Spec

_ACTS = {"gelu": "gelu", "quick_gelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
_CLIP = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_hidden_layers": 12}
# what transformers leaves out of config.json because it is the default
_DEFAULTS = {
    ("clip", "vision"): {
        **_CLIP,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 32,
    },
    ("clip", "text"): {
        **_CLIP,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "eos_token_id": 49407,
    },
    ("siglip", "vision"): {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    },
    ("siglip", "text"): {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 32000,
        "max_position_embeddings": 64,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    },
}


def specs(config: Mapping[str, Any]) -> tuple[Spec, Spec] | None:
    """(image, text) specs of a transformers ``config.json`` of a CLIP or SigLIP model; None for other families."""
    family = config.get("model_type")
    if family not in ("clip", "siglip"):
        return None
    vision = {**_DEFAULTS[family, "vision"], **(config.get("vision_config") or {})}
    text = {**_DEFAULTS[family, "text"], **(config.get("text_config") or {})}
    siglip = family == "siglip"
    dim = config.get("projection_dim", 512)
    image = {
        "kind": "vit",
        "size": vision["image_size"],
        "patch": vision["patch_size"],
        **_common(vision),
        "dim": None if siglip else dim,
        "pool": "map" if siglip else "tok",
        "class_token": not siglip,
        "ln_pre": not siglip,
        "patch_bias": siglip,
        "proj_bias": False,
        "norm_after_pool": False,
        "qkv_bias": True,
        "patch_dropout": 0.0,
    }
    # a config with the end-of-text id 2 is from before transformers 4.31, whose models pool at the largest id
    eos = None if siglip or text["eos_token_id"] == 2 else text["eos_token_id"]
    words = {
        "kind": "text",
        "vocab": text["vocab_size"],
        "context": text["max_position_embeddings"],
        **_common(text),
        "dim": (text.get("projection_size") or text["hidden_size"]) if siglip else dim,
        "causal": not siglip,
        "pool": "last" if siglip else "argmax" if eos is None else "eos",
        "pad_id": text.get("pad_token_id", 1) if siglip else 0,
        "eos_id": eos,
        "pad_mask": False,
        "proj_bias": siglip,
    }
    return image, words


def _common(cfg: Mapping[str, Any]) -> Spec:
    if cfg["hidden_act"] not in _ACTS:
        raise ValueError(f"the activation {cfg['hidden_act']!r} is not one of {', '.join(_ACTS)}: load this model with transformers")
    return {
        "width": cfg["hidden_size"],
        "layers": cfg["num_hidden_layers"],
        "heads": cfg["num_attention_heads"],
        "mlp_ratio": cfg["intermediate_size"] / cfg["hidden_size"],
        "act": _ACTS[cfg["hidden_act"]],
        "eps": cfg["layer_norm_eps"],
        "layer_scale": None,
    }


def preprocess_config(folder: Path, image: Spec) -> dict[str, Any]:
    """A transformers ``preprocessor_config.json`` in the words of our Preprocess (size from the tower where there is none)."""
    out: dict[str, Any] = {"size": image["size"]}
    if image["pool"] == "map":
        out |= {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return out
    cfg = read_json(path)
    size = cfg.get("crop_size") if cfg.get("do_center_crop") else cfg.get("size")
    if isinstance(size, Mapping):
        size = [size["height"], size["width"]] if "height" in size else size.get("shortest_edge")
    resample = {2: "bilinear", 3: "bicubic"}.get(cfg.get("resample", 3))
    if resample is None:
        raise ValueError(f"{path} asks for resample={cfg['resample']}: only 2 (bilinear) and 3 (bicubic) are known")
    squash = not cfg.get("do_center_crop") and isinstance(cfg.get("size"), Mapping) and "height" in cfg["size"]
    return {
        **out,
        **({"size": size} if size else {}),
        **({"mean": cfg["image_mean"], "std": cfg["image_std"]} if "image_mean" in cfg and "image_std" in cfg else {}),
        "interpolation": resample,
        "resize_mode": "squash" if squash else "shortest",
    }
