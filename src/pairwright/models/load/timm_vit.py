"""Is a timm vision transformer a plain one? Then its description for our own."""

from __future__ import annotations

from typing import Any

from torch import nn


def side(value: Any) -> int | tuple[int, int]:
    """A size in pixels: one number for a square."""
    if isinstance(value, int):
        return value
    h, w = value
    return h if h == w else (h, w)


def plain_timm_vit(trunk: nn.Module) -> dict[str, Any] | None:
    """The spec (without dim) of a timm VisionTransformer, or None if anything about it is out of the ordinary."""
    from timm.layers import Attention
    from timm.layers.attention_pool import AttentionPoolLatent
    from timm.models import vision_transformer as vt

    if type(trunk) is not vt.VisionTransformer or type(trunk.patch_embed) is not vt.PatchEmbed:
        return None
    block, pool = trunk.blocks[0], trunk.attn_pool
    identity = (block.attn.q_norm, block.attn.norm, trunk.patch_embed.norm) if type(block.attn) is Attention else (None,)
    ordinary = (
        type(block) is vt.Block
        and all(isinstance(m, nn.Identity) for m in identity)
        and getattr(block.attn, "gate", None) is None
        and isinstance(getattr(block.mlp, "norm", nn.Identity()), nn.Identity)
        and trunk.num_reg_tokens == 0
        and trunk.pos_embed is not None
        and not (trunk.no_embed_class and trunk.has_class_token)
        and isinstance(trunk.norm, nn.LayerNorm) != isinstance(trunk.fc_norm, nn.LayerNorm)
        and (pool is None or (type(pool) is AttentionPoolLatent and pool.latent_len == 1 and isinstance(pool.q_norm, nn.Identity)))
        and (pool is not None or trunk.global_pool in ("token", "avg"))
        and not (pool is not None and isinstance(trunk.fc_norm, nn.LayerNorm))
        and not getattr(trunk, "pool_include_prefix", False)
    )
    act = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu"}.get(type(block.mlp.act).__name__)
    if getattr(block.mlp.act, "approximate", "none") == "tanh":
        act = "gelu_tanh"
    if not ordinary or act is None:
        return None
    ls = getattr(block.ls1, "gamma", None)
    return {
        "kind": "vit",
        "size": side(trunk.patch_embed.img_size),
        "patch": side(trunk.patch_embed.patch_size),
        "width": trunk.embed_dim,
        "layers": len(trunk.blocks),
        "heads": block.attn.num_heads,
        "mlp_ratio": block.mlp.fc1.out_features / trunk.embed_dim,
        "act": act,
        "eps": block.norm1.eps,
        "layer_scale": None if ls is None else 1e-5,
        "pool": "map" if pool is not None else {"token": "tok", "avg": "avg"}[trunk.global_pool],
        "class_token": trunk.has_class_token,
        "ln_pre": isinstance(trunk.norm_pre, nn.LayerNorm),
        "patch_bias": trunk.patch_embed.proj.bias is not None,
        "norm_after_pool": isinstance(trunk.fc_norm, nn.LayerNorm),
        "qkv_bias": block.attn.qkv.bias is not None,
    }
