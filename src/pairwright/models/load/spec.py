"""From an architecture's description to towers: what is a plain transformer becomes ours, the rest is named as such.

A *spec* is the keyword arguments of one of our towers plus ``kind`` (``vit``, ``text``, ``timm``, ``conv``); None stands for
"not expressible".
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pairwright.models.load.timm_vit import plain_timm_vit, side
from pairwright.models.towers.conv import ConvImage
from pairwright.models.towers.fasternet import FasterNet, covers
from pairwright.models.towers.text import TextTransformer
from pairwright.models.towers.timm_image import TimmImage
from pairwright.models.towers.vit import VisionTransformer

Spec = dict[str, Any]
# attention variants of open_clip's custom block, and what else takes a tower out of the plain family
_ODD = (
    "qk_norm",
    "scaled_cosine_attn",
    "scale_heads",
    "scale_attn_inner",
    "scale_attn",
    "scale_fc",
    "attentional_pool",
    "embed_cls",
    "block_type",
)


class Unfilled(TorchFunctionMode):
    """Within it parameters keep whatever their memory held: no initialisation runs.

    The meta device does the same for more: its first random operation imports torch's compiler, which takes seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        target = args[0] if args else kwargs.get("tensor")
        if isinstance(target, nn.Parameter) and func.__name__.endswith("_") and not func.__name__.startswith("_"):
            return target
        return (torch.empty if func is torch.randn else func)(*args, **kwargs)


def tower(spec: Spec, *, empty: bool = False) -> nn.Module:
    """Build the tower of a spec with random weights, or (quickly) with memory that a checkpoint is going to fill."""
    spec = dict(spec)
    kind = spec.pop("kind", None)
    kinds: dict[Any, Any] = {"vit": VisionTransformer, "text": TextTransformer, "timm": TimmImage, "conv": ConvImage}
    if kind not in kinds:
        raise ValueError(f"unknown kind of tower {kind!r}: this version knows {', '.join(kinds)}")
    cls = FasterNet if kind == "timm" and covers(spec) else kinds[kind]
    # a timm network may compute buffers from what it draws; ours have none that a checkpoint would not fill
    with Unfilled() if empty and cls is not TimmImage else contextlib.nullcontext():
        return cls(**spec)


def _act(cfg: Mapping[str, Any], quick_gelu: bool) -> str | None:
    kwargs = cfg.get("act_kwargs") or {}
    if quick_gelu:
        return None if kwargs else "quick_gelu"
    return {(): "gelu", (("approximate", "tanh"),): "gelu_tanh", (("approximate", "none"),): "gelu"}.get(tuple(kwargs.items()))


def text_spec(model_cfg: Mapping[str, Any]) -> Spec | None:
    """The text tower of an open_clip ``model_cfg``."""
    cfg = model_cfg["text_cfg"]
    act, norm = _act(cfg, model_cfg.get("quick_gelu", False)), cfg.get("norm_kwargs") or {}
    pool = cfg.get("pool_type", "argmax")
    if "hf_model_name" in cfg or "multimodal_cfg" in model_cfg or any(cfg.get(k) for k in _ODD) or act is None or set(norm) - {"eps"}:
        return None
    if pool not in ("argmax", "eos", "last", "first"):
        return None
    return {
        "kind": "text",
        "vocab": cfg.get("vocab_size", 49408),
        "context": cfg.get("context_length", 77),
        "width": cfg.get("width", 512),
        "layers": cfg.get("layers", 12),
        "heads": cfg.get("heads", 8),
        "dim": None if cfg.get("proj_type", "linear") == "none" else model_cfg["embed_dim"],
        "mlp_ratio": cfg.get("mlp_ratio", 4.0),
        "act": act,
        "eps": norm.get("eps", 1e-5),
        "layer_scale": cfg.get("ls_init_value"),
        "causal": not cfg.get("no_causal_mask", False),
        "pool": pool,
        "pad_id": cfg.get("pad_id", 0),
        "eos_id": cfg.get("eos_id", 2) if pool == "eos" else None,
        "pad_mask": False,
        "proj_bias": cfg.get("proj_bias", False),
    }


def image_spec(model_cfg: Mapping[str, Any]) -> Spec | None:
    """The image tower of an open_clip ``model_cfg``."""
    cfg, dim = model_cfg["vision_cfg"], model_cfg["embed_dim"]
    if cfg.get("timm_model_name"):
        return _timm_spec(json.dumps({**cfg, "dim": dim}, sort_keys=True))
    act, norm = _act(cfg, model_cfg.get("quick_gelu", False)), cfg.get("norm_kwargs") or {}
    odd = any(cfg.get(k) for k in _ODD) or set(norm) - {"eps"} or cfg.get("pos_embed_type", "learnable") != "learnable"
    if isinstance(cfg.get("layers", 12), (list, tuple)) or odd or act is None or cfg.get("pool_type", "tok") not in ("tok", "avg"):
        return None
    return {
        "kind": "vit",
        "size": side(cfg.get("image_size", 224)),
        "patch": side(cfg.get("patch_size", 16)),
        "width": cfg.get("width", 768),
        "layers": cfg.get("layers", 12),
        "heads": cfg.get("width", 768) // cfg.get("head_width", 64),
        "dim": dim,
        "mlp_ratio": cfg.get("mlp_ratio", 4.0),
        "act": act,
        "eps": norm.get("eps", 1e-5),
        "layer_scale": cfg.get("ls_init_value"),
        "pool": cfg.get("pool_type", "tok"),
        "class_token": True,
        "ln_pre": not cfg.get("no_ln_pre", False),
        "patch_bias": False,
        "proj_bias": False,
        "norm_after_pool": cfg.get("final_ln_after_pool", False),
        "qkv_bias": True,
        "patch_dropout": cfg.get("patch_dropout", 0.0),
    }


@functools.lru_cache(maxsize=256)
def _timm_spec(cfg_json: str) -> Spec | None:
    """A timm image tower: our VisionTransformer where timm's is a plain one (looked at on the meta device, so nothing is allocated)."""
    cfg = json.loads(cfg_json)
    pool, proj = cfg.get("timm_pool", "avg"), cfg.get("timm_proj", "linear") or ""
    if pool in ("abs_attn", "rot_attn"):
        return None
    spec = {
        "kind": "timm",
        "name": cfg["timm_model_name"],
        "dim": cfg["dim"],
        "size": side(cfg.get("image_size", 224)),
        "pool": pool,
        "proj": proj,
        "proj_bias": cfg.get("timm_proj_bias", False),
        "drop": cfg.get("timm_drop", 0.0),
        "drop_path": cfg.get("timm_drop_path"),
    }
    if covers(spec):  # known without importing timm
        return spec
    with torch.device("meta"):
        trunk = tower(spec).trunk
    plain = None if proj == "mlp" else plain_timm_vit(trunk)
    if plain is None:
        return spec
    bias = spec["proj_bias"] if proj == "linear" else True
    return {
        **plain,
        "dim": None if proj == "none" else cfg["dim"],
        "proj_bias": proj != "none" and bias,
        "patch_dropout": cfg.get("patch_dropout", 0.0),
    }
