"""From an architecture and a state dict to a DualEncoder: towers, weights, preprocessing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from pairwright.models.dual import DualEncoder
from pairwright.models.load import rename
from pairwright.models.load.likely import likely
from pairwright.models.load.spec import Spec, image_spec, text_spec, tower
from pairwright.models.preprocess import Preprocess
from pairwright.models.towers.vit import VisionTransformer, resize_positions
from pairwright.models.towers.wrapped import Wrapped


def from_open_clip(
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any],
    state: Mapping[str, Tensor] | None,
    *,
    name: str = "",
) -> DualEncoder:
    """Build the model of an open_clip ``model_cfg`` and fill it (state None: random weights). `name` is for messages only."""
    specs = {"image": image_spec(model_cfg), "text": text_spec(model_cfg)}
    foreign = None if all(specs.values()) else _open_clip_module(model_cfg, name)
    towers: dict[str, nn.Module] = {}
    for which, attr in (("image", "visual"), ("text", "text")):
        spec = specs[which]
        if spec is not None:
            towers[which] = tower(spec, empty=state is not None)
        else:
            others = {"text_decoder": foreign.text_decoder} if which == "text" and hasattr(foreign, "text_decoder") else None
            towers[which] = Wrapped(
                getattr(foreign, attr), model_cfg["embed_dim"], name=f"the {which} tower of {name or 'this model'}", others=others
            )
    scale = model_cfg.get("init_logit_scale", 2.6593)
    bias = model_cfg.get("init_logit_bias")
    if state is not None and "logit_bias" in state:
        bias = 0.0 if bias is None else bias
    model = _dual(towers, specs["image"], preprocess_cfg, scale, bias, {"model_cfg": deepcopy(dict(model_cfg))})
    if state is not None:
        image, text, rest = rename.split_open_clip(dict(state))
        if specs["image"] is not None and specs["image"]["kind"] == "vit" and model_cfg["vision_cfg"].get("timm_model_name"):
            image = rename.from_timm_vit(image)
        fill(model, image, text, rest, name=name, raw=state)
    return model


def from_specs(
    specs: tuple[Spec, Spec],
    preprocess_cfg: Mapping[str, Any],
    parts: tuple[rename.State, rename.State, rename.State] | None,
    *,
    logit_scale: float = 2.6593,
    logit_bias: float | None = None,
    name: str = "",
) -> DualEncoder:
    """Build from (image, text) specs; `parts`: their state dicts and the rest (logit scale and bias)."""
    towers = {which: tower(spec, empty=parts is not None) for which, spec in zip(("image", "text"), specs)}
    model = _dual(towers, specs[0], preprocess_cfg, logit_scale, logit_bias, {})
    if parts is not None:
        fill(model, *parts, name=name)
    return model


def _dual(
    towers: Mapping[str, nn.Module],
    image: Spec | None,
    preprocess_cfg: Mapping[str, Any],
    scale: float,
    bias: float | None,
    config: dict[str, Any],
) -> DualEncoder:
    cfg = dict(preprocess_cfg)
    if not cfg.get("size"):
        cfg["size"] = image["size"] if image is not None else getattr(getattr(towers["image"], "module", None), "image_size", 224)
    preprocess = Preprocess.of(cfg)
    return DualEncoder(
        towers, logit_scale=scale, logit_bias=bias, preprocess=preprocess, config={**config, "preprocess_cfg": preprocess.config}
    ).eval()


def _open_clip_module(model_cfg: Mapping[str, Any], name: str) -> nn.Module:
    """open_clip's own module with random weights, always in the form with a separate text module."""
    from open_clip.coca_model import CoCa
    from open_clip.model import CustomTextCLIP

    cfg = deepcopy(dict(model_cfg))
    cfg.pop("custom_text", None)
    if cfg["vision_cfg"].get("timm_model_name"):
        cfg["vision_cfg"]["timm_model_pretrained"] = False
    if cfg["text_cfg"].get("hf_model_name"):
        cfg["text_cfg"]["hf_model_pretrained"] = False
    try:
        return (CoCa if "multimodal_cfg" in cfg else CustomTextCLIP)(**cfg)
    except OSError as e:  # transformers: the text tower's config is not on this machine
        raise FileNotFoundError(
            f"{name or 'this model'} has the Hugging Face text tower {cfg['text_cfg'].get('hf_model_name')!r}, whose config is not on this "
            f"machine: load it once where there is a network, and copy the Hugging Face cache. ({str(e).splitlines()[0]})"
        ) from None


def fill(
    model: DualEncoder,
    image: rename.State,
    text: rename.State,
    rest: rename.State,
    *,
    name: str = "",
    raw: Mapping[str, Tensor] | None = None,
) -> None:
    """Put the parts of a checkpoint into a model, or raise ValueError naming the tensors that do not fit."""
    merged: dict[str, Tensor] = {}
    for which, part in (("image", image), ("text", text)):
        prefix = f"towers.{which}." + ("module." if isinstance(model.towers[which], Wrapped) else "")
        merged.update({prefix + k: v for k, v in part.items()})
    for key, t in rest.items():
        known = key in ("logit_scale", "logit_bias")
        merged[key if known else f"towers.text.others.{key}"] = t.reshape(()) if known else t
    if model.logit_bias is not None and "logit_bias" not in merged:
        merged["logit_bias"] = torch.zeros(())
    if "logit_scale" not in merged:
        raise ValueError(f"the checkpoint{_of(name)} holds no logit_scale: it is not a whole contrastive model")
    want = model.state_dict()
    _fit_positions(model, merged)
    for key, t in merged.items():
        if key in want and want[key].shape != t.shape:
            raise ValueError(
                f"the tensor {_shown(key)} has the shape {tuple(t.shape)} in the checkpoint, but {name or 'this architecture'} needs "
                f"{tuple(want[key].shape)}{_hint(raw)}"
            )
    missing, extra = sorted(want.keys() - merged.keys()), sorted(merged.keys() - want.keys())
    if missing or extra:
        lines = [
            f"{len(keys)} {what} (first: {', '.join(map(_shown, keys[:3]))})"
            for what, keys in (("tensors are missing", missing), ("are unknown", extra))
            if keys
        ]
        raise ValueError(f"the checkpoint{_of(name)} does not fit the architecture: {'; '.join(lines)}{_hint(raw)}")
    model.load_state_dict(merged)


def _shown(key: str) -> str:
    """``towers.image.conv1.weight`` -> ``image:conv1.weight``."""
    return key.removeprefix("towers.").replace(".", ":", 1) if key.startswith("towers.") else key


def _of(name: str) -> str:
    return f" of {name}" if name else ""


def _hint(raw: Mapping[str, Tensor] | None) -> str:
    names = likely(raw) if raw is not None else []
    return f". By its shapes the checkpoint is {' or '.join(names[:3])}: load it as (name, path)" if names else ""


def _fit_positions(model: DualEncoder, state: dict[str, Tensor]) -> None:
    """Interpolate the image tower's position embeddings where the checkpoint has another, square, grid."""
    vit, key = model.towers["image"], "towers.image.positional_embedding"
    t = state.get(key)
    if not isinstance(vit, VisionTransformer) or t is None or t.shape == vit.positional_embedding.shape or t.shape[-1] != vit.encoder_width:
        return
    side = round((len(t) - vit.prefix) ** 0.5)
    if side * side != len(t) - vit.prefix:
        return
    same_patch = state.get("towers.image.conv1.weight", vit.conv1.weight).shape == vit.conv1.weight.shape
    if same_patch:
        warnings.warn(f"position embeddings were interpolated from a {side}x{side} grid to {vit.grid[0]}x{vit.grid[1]}", stacklevel=4)
        state[key] = resize_positions(t, (side, side), vit.grid, vit.prefix)
