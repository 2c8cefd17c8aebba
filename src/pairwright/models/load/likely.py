"""Which of open_clip's architectures a state dict belongs to, judged by the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

Signature = tuple[Any, ...]


def likely(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the architectures whose widths, depths, patch, grid and vocabulary are those of the tensors, plain names first.

    Several remain where shapes do not tell them apart (GELU or QuickGELU). Only plain towers are recognised.
    """
    seen = of_state(state)
    if seen is None:
        return []
    import open_clip

    found = [n for n in open_clip.list_models() if of_config(open_clip.get_model_config(n)) == seen]
    return sorted(found, key=lambda n: ("quickgelu" in n, len(n)))


def of_state(state: Mapping[str, Tensor]) -> Signature | None:
    """(embed_dim, text, image) sizes of an open_clip state dict; None if its towers are not plain."""
    text = {k.removeprefix("text."): v for k, v in state.items()}
    if "visual.conv1.weight" not in state or "token_embedding.weight" not in text or "visual.positional_embedding" not in state:
        return None
    conv, words, proj = state["visual.conv1.weight"], text["token_embedding.weight"], state.get("visual.proj")
    if conv.ndim != 4 or words.ndim != 2 or proj is None or "positional_embedding" not in text:
        return None
    return (
        proj.shape[1],
        (words.shape[1], depth(text, "transformer.resblocks."), words.shape[0], text["positional_embedding"].shape[0]),
        (conv.shape[0], depth(state, "visual.transformer.resblocks."), conv.shape[2], state["visual.positional_embedding"].shape[0]),
    )


def of_config(cfg: Mapping[str, Any]) -> Signature | None:
    """The same three from a ``model_cfg``."""
    vision, text = cfg["vision_cfg"], cfg["text_cfg"]
    size, patch = vision.get("image_size", 224), vision.get("patch_size", 16)
    plain = (
        not vision.get("timm_model_name")
        and isinstance(vision.get("layers"), int)
        and "hf_model_name" not in text
        and "multimodal_cfg" not in cfg
    )
    if not plain or not isinstance(size, int) or not isinstance(patch, int):
        return None
    return (
        cfg["embed_dim"],
        (text.get("width", 512), text.get("layers", 12), text.get("vocab_size", 49408), text.get("context_length", 77)),
        (vision.get("width", 768), vision["layers"], patch, (size // patch) ** 2 + 1),
    )


def depth(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of blocks under a prefix."""
    return len({k[len(prefix) :].split(".")[0] for k in state if k.startswith(prefix)})
