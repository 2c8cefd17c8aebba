"""ViT-B-32 with the same random weights in open_clip and in ours."""

from __future__ import annotations

from functools import cache
from typing import Any

import open_clip
import torch

from pairwright.models.dual import DualEncoder
from pairwright.models.load.build import from_open_clip


@cache
def vit_b_32() -> tuple[Any, DualEncoder]:
    torch.manual_seed(0)
    theirs = open_clip.create_model("ViT-B-32").eval()
    ours = from_open_clip(open_clip.get_model_config("ViT-B-32"), {}, theirs.state_dict(), name="ViT-B-32").eval()
    return theirs, ours


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-4) -> str:
    """Largest difference of unit embeddings; refuses more than `tolerance`."""
    apart = float((ours - theirs).abs().max())
    assert apart <= tolerance, f"embeddings differ by {apart:.1e}"
    return f"largest difference {apart:.0e}"
