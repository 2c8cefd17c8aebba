"""`save`: a model as a folder in open_clip's hub layout, which open_clip, timm's friends and this package read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io
from pairwright.models.dual import DualEncoder
from pairwright.models.load import rename
from pairwright.models.load.describe import same_spec, to_open_clip
from pairwright.models.load.entry import CONFIG
from pairwright.models.load.spec import image_spec, text_spec
from pairwright.models.tokenize import PLAIN, BPETokenizer
from pairwright.models.towers.wrapped import Wrapped


def save(model: DualEncoder, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
    """Write ``open_clip_model.safetensors``, ``open_clip_config.json`` and the tokenizer's files into `folder` (each atomically).

    Whatever open_clip has words for is written in them, and ``open_clip.create_model("local-dir:…")`` gives the same embeddings for towers
    that it sizes as we do (plain transformers, and timm's whose head is as wide as their features). Towers
    beyond that (conv twins, attention-pooled towers of odd sizes) are described in our own words, for `load` only.

    dtype: of the stored weights, e.g. torch.float16 for half the bytes; the model's own weights are rounded to it, so that what is loaded
    later is this model. None: as they are.
    """
    if dtype is not None:
        round_weights(model, dtype)
    folder = Path(folder)
    cfg = _model_cfg(model)
    if cfg is None and any(not hasattr(t, "spec") for t in model.towers.values()):
        raise ValueError(
            "this model has a tower without a description (spec) and no open_clip config: it cannot be written as a model folder"
        )
    preprocess = dict(getattr(model.preprocess, "config", None) or model.config.get("preprocess_cfg") or {})
    config: dict[str, Any] = {"preprocess_cfg": preprocess}
    if cfg is not None:
        config = {"model_cfg": cfg, **config}
        state = _open_clip_names(model, cfg)
    else:
        config["pairwright"] = {name: tower.spec for name, tower in model.towers.items()}
        state = dict(model.state_dict())
    own = hasattr(model.tokenizer, "save")
    if isinstance(model.tokenizer, BPETokenizer) and cfg is not None:
        cfg["text_cfg"] = {**cfg["text_cfg"], "hf_tokenizer_name": cfg["text_cfg"].get("hf_tokenizer_name") or "local"}
    stored = {k: v.to(dtype) if dtype is not None and v.is_floating_point() else v.clone() for k, v in state.items()}
    io.save_tensors(folder / "open_clip_model.safetensors", stored, {"fingerprint": model.fingerprint})
    for stale in (PLAIN, "tokenizer.json", "tokenizer_config.json"):  # of another model that was saved here before
        (folder / stale).unlink(missing_ok=True)
    if own:
        model.tokenizer.save(folder)  # type: ignore[union-attr]
    elif hasattr(model.tokenizer, "save_pretrained"):
        model.tokenizer.save_pretrained(str(folder))  # type: ignore[union-attr]
    io.write_text(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False))
    return folder


@torch.no_grad()
def round_weights(model: DualEncoder, dtype: torch.dtype) -> None:
    """Give every weight and statistic the nearest value that `dtype` can hold; ValueError where one is beyond its range."""
    for name, v in model.state_dict().items():
        if v.is_floating_point():
            rounded = v.to(dtype)
            if not torch.isfinite(rounded).all():
                raise ValueError(f"{name} holds values that {dtype} cannot: save with dtype=None")
            v.copy_(rounded)


def _model_cfg(model: DualEncoder) -> dict[str, Any] | None:
    """The open_clip config that describes the model: the one it came with while that is true of its towers, else a new one."""
    cfg = model.config.get("model_cfg")
    towers = [model.towers["image"], model.towers["text"]]
    if cfg and all(isinstance(t, Wrapped) or same_spec(s(cfg), t.spec) for t, s in zip(towers, (image_spec, text_spec))):
        return {**cfg, **({"init_logit_bias": -10} if model.logit_bias is not None and "init_logit_bias" not in cfg else {})}
    if not all(hasattr(t, "spec") for t in towers) or set(model.towers) != {"image", "text"}:
        return None
    image, text = towers[0].spec, towers[1].spec
    if image["kind"] not in ("vit", "timm") or text["kind"] != "text":
        return None
    return to_open_clip(image, text, logit_bias=model.logit_bias is not None)


def _open_clip_names(model: DualEncoder, cfg: dict[str, Any]) -> dict[str, Tensor]:
    image, text = model.towers["image"], model.towers["text"]
    custom = bool(cfg.get("custom_text") or isinstance(text, Wrapped))
    if isinstance(text, Wrapped) and not cfg["text_cfg"].get("hf_model_name"):
        cfg["custom_text"] = True
    visual = image.module.state_dict() if isinstance(image, Wrapped) else image.state_dict()
    if not isinstance(image, Wrapped) and image.spec["kind"] == "vit" and cfg["vision_cfg"].get("timm_model_name"):
        visual = rename.to_timm_vit(
            visual, adapter=cfg["vision_cfg"].get("timm_proj", "linear") == "linear", norm_after_pool=image.spec["norm_after_pool"]
        )
    words = text.module.state_dict() if isinstance(text, Wrapped) else text.state_dict()
    others = text.others.state_dict() if isinstance(text, Wrapped) else {}
    out = {**{f"visual.{k}": v for k, v in visual.items()}, **{f"text.{k}" if custom else k: v for k, v in words.items()}, **others}
    out["logit_scale"] = model.logit_scale.detach()
    if model.logit_bias is not None:
        out["logit_bias"] = model.logit_bias.detach()
    return out
