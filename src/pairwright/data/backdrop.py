"""Lay transparent icons over random backgrounds, and one-colour icons in a new ink, so that neither colour carries a signal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_LUMA = torch.tensor([0.299, 0.587, 0.114])
_SPREAD = 48 / 255  # an icon whose opaque pixels differ by less than this in every channel has one colour
_DARK = 96 / 255  # ... and is dark when no channel exceeds this


@dataclass(frozen=True)
class Scene:
    """What lies behind an icon (two colours, the direction of the fade in [-1, 1] coordinates), and its new ink, used where recolour_B."""

    near_B3: Tensor
    far_B3: Tensor
    slope_B2: Tensor
    ink_B3: Tensor
    recolour_B: Tensor


def plan(
    x_B4HW: Tensor,
    draw: Callable[..., Tensor],
    *,
    plain: float,
    gradient: float,
    recolour: float,
    apart: float,
    keep_ink_B: Tensor | None = None,
) -> Scene:
    """Draw a background and an ink for each icon. `draw(low, high)` gives (B,) uniforms.

    One-colour icons keep a luminance distance of at least `apart` from their background, so that they stay visible.
    """
    low_B3, high_B3 = _ink_range(x_B4HW)
    one_colour_B = (high_B3 - low_B3).amax(1) <= _SPREAD
    dark_B = one_colour_B & (high_B3.amax(1) <= _DARK)
    recolour_B = dark_B & (draw() < recolour)
    if keep_ink_B is not None:
        recolour_B &= ~keep_ink_B.to(recolour_B.device)
    new_ink_B3 = torch.stack([draw() for _ in range(3)], 1)
    ink_B3 = torch.where(recolour_B[:, None], new_ink_B3, (low_B3 + high_B3) / 2)

    kind = draw()
    coloured_B = (kind < plain + gradient)[:, None]
    fading_B = (kind < gradient)[:, None]
    near_B3 = torch.where(coloured_B, torch.stack([draw() for _ in range(3)], 1), torch.ones_like(ink_B3))
    far_B3 = torch.where(fading_B, torch.stack([draw() for _ in range(3)], 1), near_B3)
    luma = _LUMA.to(ink_B3)
    ink_B = (ink_B3 * luma).sum(1)
    too_near_B = one_colour_B & (((near_B3 * luma).sum(1) - ink_B).abs() < apart)
    near_B3 = _beyond(near_B3, ink_B, ink_B < 0.5, apart, too_near_B)
    # the far end stays on the same side of the ink, or the fade would pass through the ink's own luminance
    far_B3 = _beyond(far_B3, ink_B, (near_B3 * luma).sum(1) > ink_B, apart, one_colour_B)
    angle = draw(0.0, 2 * math.pi)
    slope_B2 = torch.stack([torch.cos(angle), torch.sin(angle)], 1)
    return Scene(near_B3, far_B3, slope_B2, ink_B3, recolour_B)


def compose(x_B4HW: Tensor, scene: Scene) -> Tensor:
    """Premultiplied RGBA float (B, 4, H, W) over the scene -> RGB (B, 3, H, W)."""
    alpha = x_B4HW[:, 3:]
    h, w = x_B4HW.shape[2:]
    pixel = lambda v: v[:, :, None, None]
    new = scene.recolour_B[:, None].to(alpha)
    rgb = (x_B4HW[:, :3] * pixel(1 - new)).add_(alpha * pixel(scene.ink_B3 * new))
    across = torch.linspace(-1, 1, w, device=alpha.device)[None, None, :]
    down = torch.linspace(-1, 1, h, device=alpha.device)[None, :, None]
    fade = 0.5 + (scene.slope_B2[:, 0, None, None] * across + scene.slope_B2[:, 1, None, None] * down) / (2 * math.sqrt(2))
    paper = pixel(scene.near_B3) + pixel(scene.far_B3 - scene.near_B3) * fade[:, None]
    return rgb.add_(paper.mul_(1 - alpha))


def _ink_range(x_B4HW: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value (B, 3), in [0, 1], among the mostly opaque pixels. Exact, so that decisions do not depend on the batch.

    A picture without opaque pixels gives (1, 0): high - low is negative, and it counts as one dark colour, which is harmless.
    """
    whole = 255 if x_B4HW.dtype == torch.uint8 else 1.0
    seen = (x_B4HW[:, 3:] > 0.75 * whole).to(x_B4HW.dtype)  # products with 0 and 1 are several times faster here than torch.where
    rgb = x_B4HW[:, :3]
    low = whole - ((whole - rgb) * seen).flatten(2).amax(2).float()
    high = (rgb * seen).flatten(2).amax(2).float()
    return low / whole, high / whole


def _beyond(paper_B3: Tensor, ink_B: Tensor, lighter_B: Tensor, apart: float, where_B: Tensor) -> Tensor:
    """Move colours towards white (lighter_B) or black until their luminance is `apart` from the ink's on that side; the others stay."""
    paper_B = (paper_B3 * _LUMA.to(paper_B3)).sum(1)
    goal_B = torch.where(lighter_B, (ink_B + apart).clamp(max=1), (ink_B - apart).clamp(min=0))
    end_B = lighter_B.to(paper_B3)
    short_B = where_B & torch.where(lighter_B, paper_B < goal_B, paper_B > goal_B)
    share_B = ((goal_B - paper_B) / torch.where(end_B == paper_B, 1.0, end_B - paper_B)).clamp(0, 1) * short_B
    return paper_B3 + share_B[:, None] * (end_B[:, None] - paper_B3)
