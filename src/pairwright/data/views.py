"""Augment images: random crop, rotation, flip, colour jitter, and for transparent icons random backgrounds and ink colours.

Pure and batched: `view(x, seed)` gives the same picture for the same image and seed, whatever else is in the batch and in which order,
so that a stored teacher can replay it and a resumed run sees what the unbroken one saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pairwright.core.numerics import hash_uniform
from pairwright.data import backdrop

_LUMA = (0.299, 0.587, 0.114)
_BLOCK = 32  # images at a time: the working set stays in the cache


@dataclass(frozen=True)
class Augment:
    """How strongly `view` changes a picture. All zeros (``area=(1, 1)``, ``aspect=1``) is the identity."""

    area: tuple[float, float] = (0.5, 1.0)
    """Crop area as a fraction of the picture; above 1 zooms out (padding: transparent for RGBA, mirrored for RGB)."""
    aspect: float = 4 / 3
    """Largest aspect ratio of the crop, either way."""
    rotate: float = 0.0
    """Largest angle in degrees, either way."""
    shear: float = 0.0
    """Largest horizontal shear, as a fraction of the height."""
    flip: float = 0.5
    """Probability of a left-right flip. Set 0 where left and right matter (arrows, text)."""
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02
    """Largest turn of the hue, as a fraction of the circle."""
    grey: float = 0.05
    """Probability of removing all colour."""
    plain: float = 0.3
    """RGBA only: probability of a plain random background (else white)."""
    gradient: float = 0.2
    """RGBA only: probability of a background that fades between two random colours."""
    recolour: float = 0.5
    """RGBA only: probability of a new ink colour for an icon drawn in one dark colour."""
    apart: float = 0.35
    """RGBA only: smallest difference in luminance between one-colour ink and its background."""

    def __post_init__(self) -> None:
        low, high = self.area
        if not 0 < low <= high or self.aspect < 1:
            raise ValueError("Augment needs 0 < area[0] <= area[1] and aspect >= 1")
        for name in ("flip", "grey", "plain", "gradient", "recolour", "apart"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Augment.{name} is a fraction, 0 to 1")
        if self.plain + self.gradient > 1:
            raise ValueError("Augment.plain + Augment.gradient must not exceed 1")


IDENTITY = Augment((1.0, 1.0), 1.0, flip=0, brightness=0, contrast=0, saturation=0, hue=0, grey=0, plain=0, gradient=0, recolour=0, apart=0)
"""No change but composition over white."""

ICONS = Augment((0.7, 1.6), 1.2, rotate=12, shear=0.08, flip=0.0, hue=0.0, grey=0.0)
"""For icons, emoji and clip art: no flip (arrows, hands, letters), no change of hue (captions name colours), zoom in and out."""


def seeds(sample_B: Tensor, epoch: int, copy: int = 0) -> Tensor:
    """int64 seeds for `view` from sample ids and the epoch; `copy` tells several views of one picture apart."""
    return (hash_uniform(sample_B, salt=1 + copy + 1024 * epoch) * 2**53).long()


def view(
    x_BCHW: Tensor, seed_B: Tensor, augment: Augment = Augment(), *, size: int | None = None, keep_ink_B: Tensor | None = None
) -> Tensor:
    """One random view of each image -> float32 (B, 3, size, size) in [0, 1].

    x_BCHW: uint8, or float in [0, 1]; 3 channels, or 4 (RGBA, not premultiplied). seed_B: int64, one per image (see `seeds`). size: side
    of the result, default the height of x. keep_ink_B: bool, rows whose ink must not be recoloured (the caption names its colour).
    """
    _check(x_BCHW)
    if seed_B.shape != (len(x_BCHW),):
        raise ValueError(f"one seed per image: got {tuple(seed_B.shape)} seeds for {len(x_BCHW)} images")
    size = size or x_BCHW.shape[2]
    out = torch.empty(len(x_BCHW), 3, size, size, device=x_BCHW.device)
    for start in range(0, len(x_BCHW), _BLOCK):
        rows = slice(start, start + _BLOCK)
        keep = None if keep_ink_B is None else keep_ink_B[rows]
        out[rows] = _view_block(x_BCHW[rows], _Draws(seed_B[rows]), augment, size, keep)
    return out


def center(x_BCHW: Tensor, size: int) -> Tensor:
    """The evaluation view: over white, shorter side to `size` (antialiased bicubic), middle square -> float32 (B, 3, size, size)."""
    _check(x_BCHW)
    x = _unit_range(x_BCHW)
    if x.shape[1] == 4:
        x = x[:, :3] * x[:, 3:] + (1 - x[:, 3:])
    h, w = x.shape[2:]
    scale = size / min(h, w)
    h, w = max(size, round(h * scale)), max(size, round(w * scale))
    if (h, w) != tuple(x.shape[2:]):
        x = F.interpolate(x, (h, w), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (h - size) // 2, (w - size) // 2
    return x[:, :, top : top + size, left : left + size].contiguous()


class _Draws:
    """Uniform numbers keyed by the seeds; every call is a new, independent draw for each row."""

    def __init__(self, seed_B: Tensor) -> None:
        self.seed_B, self.count = seed_B, 0

    def __call__(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        self.count += 1
        return (low + (high - low) * hash_uniform(self.seed_B, salt=self.count)).float()


def _view_block(x_BCHW: Tensor, draw: _Draws, a: Augment, size: int, keep_ink_B: Tensor | None) -> Tensor:
    icons = x_BCHW.shape[1] == 4
    grid_BHW2 = _grid(draw, a, size)
    scene = (
        backdrop.plan(x_BCHW, draw, plain=a.plain, gradient=a.gradient, recolour=a.recolour, apart=a.apart, keep_ink_B=keep_ink_B)
        if icons
        else None
    )
    matrix_B33, offset_B = _colour(draw, a)
    x = _unit_range(x_BCHW)
    if icons:
        x = x.clone() if x is x_BCHW else x
        x[:, :3] *= x[:, 3:]  # premultiplied: transparent pixels have no colour to bleed
    shrink = int(x.shape[2] * math.sqrt(a.area[0]) / size)
    if shrink > 1:
        x = F.avg_pool2d(x, shrink)
    x = F.grid_sample(x.contiguous(), grid_BHW2, mode="bilinear", padding_mode="zeros" if icons else "reflection", align_corners=False)
    if scene is not None:
        x = backdrop.compose(x, scene)
    out = x[:, :1] * matrix_B33[:, :, 0, None, None]
    for k in (1, 2):
        out += x[:, k : k + 1] * matrix_B33[:, :, k, None, None]
    return out.add_(offset_B[:, None, None, None]).clamp_(0, 1)


def _grid(draw: _Draws, a: Augment, size: int) -> Tensor:
    """Sampling positions (B, size, size, 2) in [-1, 1]: where in the source each target pixel comes from.

    Written out instead of affine_grid, whose matrix product may round differently for different batch sizes.
    """
    side = draw(*a.area).sqrt()
    stretch = torch.exp(draw(-math.log(a.aspect), math.log(a.aspect)) / 2)
    w, h = side * stretch, side / stretch
    if a.area[1] <= 1:
        w, h = w.clamp(max=1), h.clamp(max=1)  # a crop never leaves the picture unless zooming out was asked for
    dx, dy = draw(-1, 1) * (1 - w).abs(), draw(-1, 1) * (1 - h).abs()
    angle = draw(-1, 1) * math.radians(a.rotate)
    shear = draw(-1, 1) * a.shear
    mirror = torch.where(draw() < a.flip, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    line = (torch.arange(size, device=side.device) * 2 + 1) / size - 1
    x, y = line[None, None, :], line[None, :, None]
    col = lambda v: v[:, None, None]
    u = col(mirror) * x + col(shear) * y
    return torch.stack([col(w) * (col(cos) * u - col(sin) * y) + col(dx), col(h) * (col(sin) * u + col(cos) * y) + col(dy)], -1)


def _colour(draw: _Draws, a: Augment) -> tuple[Tensor, Tensor]:
    """Brightness, contrast (about mid-grey), saturation, hue and greyscale as one matrix (B, 3, 3) and offset (B,)."""
    gain = 1 + draw(-a.brightness, a.brightness)
    contrast = 1 + draw(-a.contrast, a.contrast)
    saturation = (1 + draw(-a.saturation, a.saturation)) * (draw() >= a.grey)
    angle = draw(-1, 1) * (2 * math.pi * a.hue)
    luma = torch.tensor(_LUMA, device=gain.device).expand(3, 3)
    eye = torch.eye(3, device=gain.device)
    # rotation about the grey axis (1, 1, 1): Rodrigues' formula
    third = torch.full((3, 3), 1 / 3, device=gain.device)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=gain.device) / math.sqrt(3)
    mat = lambda v: v[:, None, None]
    turn = mat(torch.cos(angle)) * (eye - third) + third + mat(torch.sin(angle)) * cross
    chroma = eye - luma
    mixed = (chroma[None, :, :, None] * turn[:, None, :, :]).sum(2) * mat(saturation) + luma
    return mixed * mat(gain * contrast), 0.5 * (1 - contrast)


def _check(x: Tensor) -> None:
    if x.ndim != 4 or x.shape[1] not in (3, 4):
        raise ValueError(f"expected images (B, 3 or 4, H, W), got {tuple(x.shape)}")


def _unit_range(x: Tensor) -> Tensor:
    return x.float().div_(255) if x.dtype == torch.uint8 else x.float()
