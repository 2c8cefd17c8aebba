"""The contestants of the loss benchmarks: one forward and backward pass over given features, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import open_clip
import torch
from torch import Tensor

from pairwright.core.encoded import Encoded, Views
from pairwright.core.rows import row_loss
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.losses.contrast.sigmoid import Sigmoid

D = 512
SCALE, BIAS = {"clip": 20.0, "siglip": 10.0}, {"clip": None, "siglip": -10.0}
CALLS = {
    ("clip", "pairwright"): "row_loss(InfoNCE(), views, model.logits, symmetric=True)",
    ("clip", "open_clip"): "ClipLoss()(image, text, scale)",
    ("siglip", "pairwright"): "row_loss(Sigmoid(), views, model.logits)",
    ("siglip", "open_clip"): "SigLipLoss()(image, text, scale, bias)",
}


def features(B: int) -> tuple[Tensor, Tensor]:
    """Pairs of unit rows that are alike but not the same."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(B, D, generator=g)
    return tuple(torch.nn.functional.normalize(x + torch.randn(B, D, generator=g), dim=1) for _ in range(2))  # type: ignore[return-value]


def step(kind: str, who: str, image: Tensor, text: Tensor) -> Callable[[], dict[str, Any]]:
    """A call that returns the value and the gradients of both views and of the scale."""
    image, text = image.clone().requires_grad_(), text.clone().requires_grad_()
    scale = torch.tensor(SCALE[kind], requires_grad=True)
    bias = None if BIAS[kind] is None else torch.tensor(BIAS[kind], requires_grad=True)

    def ours() -> Tensor:
        logits = lambda q, k: scale * (q.z_BD @ k.z_BD.T) if bias is None else scale * (q.z_BD @ k.z_BD.T) + bias
        loss = InfoNCE() if kind == "clip" else Sigmoid()
        return row_loss(loss, Views({"image": Encoded(image), "text": Encoded(text)}), logits, symmetric=True)

    def theirs() -> Tensor:
        return open_clip.ClipLoss()(image, text, scale) if kind == "clip" else open_clip.loss.SigLipLoss()(image, text, scale, bias)

    def run() -> dict[str, Any]:
        image.grad = text.grad = scale.grad = None
        total = ours() if who == "pairwright" else theirs()
        total.backward()
        return {"loss": total.detach(), "image": image.grad, "text": text.grad, "scale": scale.grad}

    return run


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Values and gradients to 1e-5 (relative to the largest entry)."""
    worst = 0.0
    for name, value in theirs.items():
        value = torch.as_tensor(value)
        apart = float((torch.as_tensor(ours[name]) - value).abs().max() / value.abs().max())
        assert apart <= 1e-4 if name == "scale" else apart <= 1e-5, f"{name} differs by {apart:.1e}"
        worst = max(worst, apart)
    return f"value and gradients within {worst:.0e}"
