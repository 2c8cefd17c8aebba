"""ViT-B-32 with the same random weights in open_clip and in ours."""

from __future__ import annotations

from functools import cache
from typing import Any

import open_clip
import torch

from pairwright.models.backend.auto import Backend, backend
from pairwright.models.dual import DualEncoder
from pairwright.models.load.build import from_open_clip


@cache
def vit_b_32() -> tuple[Any, DualEncoder]:
    torch.manual_seed(0)
    theirs = open_clip.create_model("ViT-B-32").eval()
    ours = from_open_clip(open_clip.get_model_config("ViT-B-32"), {}, theirs.state_dict(), name="ViT-B-32").eval()
    ours.tokenizer = open_clip.get_tokenizer("ViT-B-32")
    return theirs, ours


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-4) -> str:
    """Largest difference of unit embeddings; refuses more than `tolerance`."""
    apart = float((ours - theirs).abs().max())
    assert apart <= tolerance, f"embeddings differ by {apart:.1e}"
    return f"largest difference {apart:.0e}"


@torch.inference_mode()
def chosen(model: DualEncoder, x: torch.Tensor, batch: int | None = None) -> Backend:
    """The backend that `precision="auto"` settles on where many images are ahead."""
    return backend(model, x, precision="auto", batch=batch or len(x), images=100_000)


def near(ours: torch.Tensor, theirs: torch.Tensor, least: float = 0.999) -> str:
    """Least cosine of embeddings of any length; refuses what is below `least`."""
    cosine = float(torch.cosine_similarity(ours.float(), theirs.float()).min())
    assert cosine >= least, f"cosine {cosine:.5f}"
    return f"cosine {cosine:.5f} or more"
