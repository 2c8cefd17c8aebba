"""Names of weights: from open_clip, timm and transformers to our towers', and back to open_clip's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]

# timm's vision transformer -> ours; (inside a block), (outside)
_TIMM_BLOCK = {
    "norm1.": "ln_1.",
    "attn.qkv.weight": "attn.in_proj_weight",
    "attn.qkv.bias": "attn.in_proj_bias",
    "attn.proj.": "attn.out_proj.",
    "ls1.": "ls_1.",
    "norm2.": "ln_2.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
    "ls2.": "ls_2.",
}
_TIMM_TOP = {"patch_embed.proj.": "conv1.", "cls_token": "class_embedding", "pos_embed": "positional_embedding", "norm_pre.": "ln_pre."}
_TEXT = ("positional_embedding", "text_projection", "text_projection.weight", "text_projection.bias")


def _swap(name: str, table: Mapping[str, str]) -> str | None:
    for old, new in table.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None


def from_timm_vit(state: State) -> State:
    """``visual.trunk.*`` and ``visual.head.*`` of open_clip's timm adapter (prefix ``visual.`` off) -> our VisionTransformer."""
    out = {}
    for name, t in state.items():
        key = name.removeprefix("trunk.")
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", key)
        if block:
            inner = _swap(block[2], _TIMM_BLOCK)
            new = f"transformer.resblocks.{block[1]}.{inner}" if inner else key
        elif name == "head.proj.weight":
            new, t = ("proj", t.T) if "head.proj.bias" not in state else ("proj.weight", t)
        elif name == "head.proj.bias":
            new = "proj.bias"
        elif name.startswith("trunk.head."):
            new = "proj." + key.removeprefix("head.")
        elif key.startswith(("norm.", "fc_norm.")):
            new = "ln_post." + key.split(".", 1)[1]
        else:
            new = _swap(key, _TIMM_TOP) or key
        if new in ("class_embedding", "positional_embedding"):
            t = t.reshape(-1, t.shape[-1]) if new == "positional_embedding" else t.flatten()
        out[new] = t
    return out


def to_timm_vit(state: State, *, adapter: bool, norm_after_pool: bool) -> State:
    """Our VisionTransformer -> open_clip's timm adapter. adapter: the projection is its own linear layer, not timm's classifier."""
    back_block = {v: k for k, v in _TIMM_BLOCK.items()}
    back_top = {v: k for k, v in _TIMM_TOP.items()}
    norm = "fc_norm." if norm_after_pool else "norm."
    out = {}
    for name, t in state.items():
        block = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", name)
        if block:
            new = f"trunk.blocks.{block[1]}.{_swap(block[2], back_block)}"
        elif name == "proj":
            new, t = "head.proj.weight", t.T
        elif name.startswith("proj."):
            new = "head." + name if adapter else "trunk.head." + name.removeprefix("proj.")
        elif name.startswith("ln_post."):
            new = "trunk." + norm + name.removeprefix("ln_post.")
        else:
            new = "trunk." + (_swap(name, back_top) or name)
        if name == "class_embedding":
            t = t.reshape(1, 1, -1)
        elif name == "positional_embedding":
            t = t.unsqueeze(0)
        out[new] = t
    return out


def split_open_clip(state: State) -> tuple[State, State, State]:
    """An open_clip state dict, flat or with ``text.``, -> (image, text, rest), prefixes off. Position ids and masks are left out."""
    image, text, rest = {}, {}, {}
    custom = any(k.startswith("text.") for k in state)
    for name, t in state.items():
        if name.startswith("visual."):
            image[name.removeprefix("visual.")] = t
        elif name.startswith("text."):
            text[name.removeprefix("text.")] = t
        elif not custom and (name.startswith(("token_embedding.", "transformer.", "ln_final.")) or name in _TEXT):
            text[name] = t
        else:
            rest[name] = t
    text = {k: v for k, v in text.items() if k != "attn_mask" and not k.endswith("embeddings.position_ids")}
    junk = ("attn_mask", "input_resolution", "context_length", "vocab_size")  # what OpenAI's own files carry along
    return image, text, {k: v for k, v in rest.items() if k not in junk}


_HF_TOP = {
    "embeddings.token_embedding.": "token_embedding.",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.patch_embedding.": "conv1.",
    "embeddings.class_embedding": "class_embedding",
    "final_layer_norm.": "ln_final.",
    "pre_layrnorm.": "ln_pre.",
    "post_layernorm.": "ln_post.",
    "head.probe": "attn_pool.latent",
    "head.attention.out_proj.": "attn_pool.proj.",
    "head.layernorm.": "attn_pool.norm.",
    "head.mlp.": "attn_pool.mlp.",
}
_HF_BLOCK = {
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "self_attn.out_proj.": "attn.out_proj.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
}


def split_transformers(state: State) -> tuple[State, State, State]:
    """A transformers CLIP or SigLIP state dict -> (image, text, rest) with our names; separate q, k, v become one tensor."""
    parts: dict[str, State] = {"vision_model.": {}, "text_model.": {}}
    rest = {}
    for name, t in state.items():
        prefix = next((p for p in parts if name.startswith(p)), None)
        if name == "visual_projection.weight":
            parts["vision_model."]["proj"] = t.T
        elif name == "text_projection.weight":
            parts["text_model."]["text_projection"] = t.T
        elif prefix is None:
            rest[name] = t.reshape(()) if t.numel() == 1 else t
        elif not name.endswith("position_ids"):
            parts[prefix].update(_hf_entry(name.removeprefix(prefix), t))
    for part in parts.values():
        _join_qkv(part)
    return parts["vision_model."], parts["text_model."], rest


def _hf_entry(name: str, t: Tensor) -> State:
    block = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", name)
    if block:
        return {f"transformer.resblocks.{block[1]}.{_swap(block[2], _HF_BLOCK) or block[2]}": t}
    packed = re.fullmatch(r"head\.attention\.in_proj_(weight|bias)", name)
    if packed:
        q, kv = t.split([len(t) // 3, 2 * len(t) // 3])
        return {f"attn_pool.q.{packed[1]}": q, f"attn_pool.kv.{packed[1]}": kv}
    if name in ("head.weight", "head.bias"):  # SigLIP's text projection
        return {"text_projection." + name.removeprefix("head."): t}
    return {_swap(name, _HF_TOP) or name: t}


def _join_qkv(state: State) -> None:
    for name in [k for k in state if ".self_attn.q_proj." in k]:
        kind = name.rsplit(".", 1)[1]
        q, k, v = (state.pop(name.replace("q_proj", f"{p}_proj")) for p in "qkv")
        state[name.split("self_attn.")[0] + f"attn.in_proj_{kind}"] = torch.cat([q, k, v])
