"""A small convolutional image tower: quick on a CPU, for twins, fixtures and small pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairwright.core.encoded import Encoded
from pairwright.models.towers.wrapped import refuse


class ConvImage(nn.Module):
    """Residual network of a stem and one stage per entry of `channels`, each halving the side: (B, 3, H, W) -> Encoded.

    dim: joint width D. Group normalisation, so a row does not depend on its batch. ``tokens=True`` projects each place of the last map;
    ``taps=("0",)`` keeps stage outputs (B, C, h, w).
    """

    points = frozenset({"tokens", "taps"})

    def __init__(self, *, dim: int = 64, channels: Sequence[int] = (32, 64, 128), size: int = 32) -> None:
        super().__init__()
        self.spec = {"kind": "conv", "dim": dim, "channels": list(channels), "size": size}
        self.width, self.encoder_width, self.depth = dim, channels[-1], len(channels)
        self.stem = nn.Conv2d(3, channels[0], 3, padding=1)
        self.stages = nn.ModuleList(_Stage(a, b) for a, b in zip((channels[0], *channels), channels))
        self.norm = nn.LayerNorm(channels[-1])
        self.proj = nn.Linear(channels[-1], dim, bias=False)

    def forward(self, x_B3HW: Float[Tensor, "B 3 H W"], *, tokens: bool = False, taps: Sequence[str] = (), **ask: object) -> Encoded:
        refuse("the small convolutional tower", ask, self.points)
        known = {str(i): i for i in range(self.depth)}
        if set(taps) - known.keys():
            raise ValueError(f"unknown taps {sorted(set(taps) - known.keys())}: this tower has the stages {', '.join(known)}")
        x = self.stem(x_B3HW.to(self.stem.weight.dtype))
        kept = {}
        for name, stage in zip(known, self.stages):
            x = stage(x)
            if name in taps:
                kept[name] = x
        grid = (x.shape[2], x.shape[3])
        places = x.flatten(2).transpose(1, 2)
        z = self.proj(self.norm(places.mean(1)))
        if not tokens:
            return Encoded.of(z, taps=kept)
        mask = torch.ones(places.shape[:2], dtype=torch.bool, device=x.device)
        return Encoded.of(z, tokens_BMD=self.proj(self.norm(places)), mask_BM=mask, grid=grid, taps=kept)


class _Stage(nn.Module):
    """Halve the side, then one residual block. The trunk is not normalised or rectified, so that its means differ between pictures."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(before, after, 3, stride=2, padding=1)
        self.conv1 = nn.Conv2d(after, after, 3, padding=1)
        self.norm = nn.GroupNorm(1, after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        for conv in (self.down, self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return x + self.conv2(torch.relu(self.norm(self.conv1(x))))
