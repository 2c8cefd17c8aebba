"""Our towers in open_clip's words, where it has any."""

from __future__ import annotations

import math
from typing import Any

from pairwright.models.load.spec import Spec, image_spec, text_spec


def to_open_clip(image: Spec, text: Spec, *, logit_bias: bool) -> dict[str, Any] | None:
    """An open_clip ``model_cfg`` for two specs, or None where open_clip has no words for them. Checked by translating it back."""
    dim = text["dim"] or image.get("dim")
    if image["kind"] == "timm":
        vision = {
            "timm_model_name": image["name"],
            "timm_model_pretrained": False,
            "timm_pool": image["pool"],
            "timm_proj": image["proj"],
            "timm_proj_bias": image["proj_bias"],
            "timm_drop": image["drop"],
            "timm_drop_path": image["drop_path"],
            "image_size": image["size"],
        }
    else:
        vision = {
            "image_size": image["size"],
            "patch_size": image["patch"],
            "width": image["width"],
            "layers": image["layers"],
            "head_width": image["width"] // image["heads"],
            "mlp_ratio": image["mlp_ratio"],
            "ls_init_value": image["layer_scale"],
            "pool_type": image["pool"],
            "no_ln_pre": not image["ln_pre"],
            "final_ln_after_pool": image["norm_after_pool"],
            "patch_dropout": image["patch_dropout"],
            **_norm_act(image),
        }
    words = {
        "context_length": text["context"],
        "vocab_size": text["vocab"],
        "width": text["width"],
        "heads": text["heads"],
        "layers": text["layers"],
        "mlp_ratio": text["mlp_ratio"],
        "ls_init_value": text["layer_scale"],
        "no_causal_mask": not text["causal"],
        "pad_id": text["pad_id"],
        "pool_type": text["pool"],
        "proj_bias": text["proj_bias"],
        "proj_type": "linear" if text["dim"] else "none",
        **({"eos_id": text["eos_id"]} if text["pool"] == "eos" else {}),
        **_norm_act(text),
    }
    cfg = {"embed_dim": dim, "vision_cfg": vision, "text_cfg": words}
    if "quick_gelu" in (image.get("act"), text["act"]):
        cfg["quick_gelu"] = True
    if not text["causal"]:
        cfg["custom_text"] = True
    if logit_bias:
        cfg["init_logit_bias"] = -10
    same = same_spec(image_spec(cfg), image) and same_spec(text_spec(cfg), text)
    return cfg if same else None


def same_spec(a: Spec | None, b: Spec | None) -> bool:
    """Equal but for rounding and for what only matters in training or at the start of it."""
    drop = ("layer_scale", "patch_dropout", "drop", "drop_path")
    if a is None or b is None or a.keys() - set(drop) != b.keys() - set(drop):
        return False
    if (a.get("layer_scale") is None) != (b.get("layer_scale") is None):
        return False
    return all(math.isclose(v, b[k], rel_tol=1e-9) if isinstance(v, float) else _size_eq(v, b[k]) for k, v in a.items() if k not in drop)


def _size_eq(a: Any, b: Any) -> bool:
    return (tuple(a) if isinstance(a, list) else a) == (tuple(b) if isinstance(b, list) else b)


def _norm_act(spec: Spec) -> dict[str, Any]:
    norm = {} if spec["eps"] == 1e-5 else {"norm_kwargs": {"eps": spec["eps"]}}
    return {**norm, **({"act_kwargs": {"approximate": "tanh"}} if spec["act"] == "gelu_tanh" else {})}
