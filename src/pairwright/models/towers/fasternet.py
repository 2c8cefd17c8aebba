"""FasterNet image tower that loads without timm: a quick convolutional network, with the parameter names of open_clip's timm adapter."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairwright.core.encoded import Encoded
from pairwright.models.towers.wrapped import refuse


class Row(NamedTuple):
    """One published size: channels of the first stage, blocks per stage, activation, drop path of the last block in training."""

    channels: int
    depths: tuple[int, int, int, int]
    act: type[nn.Module]
    drop_path: float


SIZES = {
    "fasternet_t0": Row(40, (1, 2, 8, 2), nn.GELU, 0.0),
    "fasternet_t1": Row(64, (1, 2, 8, 2), nn.GELU, 0.02),
    "fasternet_t2": Row(96, (1, 2, 8, 2), nn.ReLU, 0.05),
    "fasternet_s": Row(128, (1, 2, 13, 2), nn.ReLU, 0.1),
    "fasternet_m": Row(144, (3, 4, 18, 3), nn.ReLU, 0.2),
    "fasternet_l": Row(192, (3, 4, 18, 3), nn.ReLU, 0.3),
}
FEATURES = 1280


def covers(spec: dict[str, Any]) -> bool:
    """Is this spec of the kind ``timm`` a FasterNet with average pooling and a linear projection?"""
    known = spec["name"].split(".")[0] in SIZES  # what follows the point names pretrained weights, not a network
    return known and spec.get("pool", "avg") in ("avg", "") and spec.get("proj", "linear") == "linear"


class FasterNet(nn.Module):
    """Image encoder of partial convolutions (Chen et al. 2023): (B, 3, H, W) -> Encoded.

    Arguments, ``spec``, parameter names and outputs are those of ``TimmImage`` for the networks that `covers` names; only the import of
    timm, which takes longer than the rest of a first search, is not needed. drop_path: None for the published rate of the size.
    Points: ``taps`` (``taps=("2",)``: stage 2 as (B, C, h, w)), ``tokens`` (each place of the last map projected by itself).
    """

    points = frozenset({"tokens", "taps"})

    def __init__(
        self,
        name: str,
        dim: int,
        *,
        size: int | tuple[int, int] = 224,
        pool: str = "avg",
        proj: str = "linear",
        proj_bias: bool = False,
        drop: float = 0.0,
        drop_path: float | None = None,
    ) -> None:
        spec = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        if not covers(spec):
            raise ValueError(
                f"FasterNet has the sizes {', '.join(SIZES)}, pool 'avg' and proj 'linear': build anything else with TimmImage"
            )
        self.spec = {"kind": "timm", **spec}
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.width = dim
        row = SIZES[name.split(".")[0]]
        self.trunk = _Trunk(row if drop_path is None else row._replace(drop_path=drop_path))
        self.head = nn.Sequential(OrderedDict(drop=nn.Dropout(drop), proj=nn.Linear(FEATURES, dim, bias=proj_bias)))

    def forward(self, x_B3HW: Float[Tensor, "B 3 H W"], *, tokens: bool = False, taps: Sequence[str] = (), **ask: object) -> Encoded:
        refuse(f"the tower {self.spec['name']}", ask, self.points)
        known = [str(i) for i in range(len(self.trunk.stages))]
        if set(taps) - set(known):
            raise ValueError(f"unknown taps {sorted(set(taps) - set(known))}: this tower has the stages {', '.join(known)}")
        x = self.trunk.patch_embed(x_B3HW.to(self.head.proj.weight.dtype))
        kept = {}
        for stage_name, stage in zip(known, self.trunk.stages):
            x = stage(x)
            if stage_name in taps:
                kept[stage_name] = x
        z = self.head(self.trunk.features(x.mean((2, 3), keepdim=True)).flatten(1))
        if not tokens:
            return Encoded.of(z, taps=kept)
        patch_BMD = self.head(self.trunk.features(x).flatten(2).transpose(1, 2))
        mask = torch.ones(patch_BMD.shape[:2], dtype=torch.bool, device=x.device)
        return Encoded.of(z, tokens_BMD=patch_BMD, mask_BM=mask, grid=(x.shape[2], x.shape[3]), taps=kept)


class _Trunk(nn.Module):
    """Patches of 4 pixels, then stages that each halve the side and double the channels, then one 1x1 convolution."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        rates = iter(torch.linspace(0, row.drop_path, sum(row.depths), device="cpu").tolist())
        width = row.channels
        self.patch_embed = _reduce("proj", 3, width, 4)
        self.stages = nn.Sequential()
        for i, depth in enumerate(row.depths):
            width = row.channels * 2**i
            self.stages.append(_Stage(width, [next(rates) for _ in range(depth)], row.act, halve=i > 0))
        self.conv_head = nn.Conv2d(width, FEATURES, 1, bias=False)
        self.act = row.act()
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.trunc_normal_(m.weight, std=0.02)

    def features(self, x: Tensor) -> Tensor:
        return self.act(self.conv_head(x))


def _reduce(name: str, before: int, after: int, side: int) -> nn.Sequential:
    """Each square of side x side places to one place."""
    return nn.Sequential(OrderedDict({name: nn.Conv2d(before, after, side, stride=side, bias=False), "norm": nn.BatchNorm2d(after)}))


class _Stage(nn.Module):
    def __init__(self, width: int, rates: Sequence[float], act: type[nn.Module], *, halve: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(width, rate, act) for rate in rates))
        self.downsample = _reduce("reduction", width // 2, width, 2) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class _Block(nn.Module):
    """A 3x3 convolution on the first quarter of the channels mixes places, a two-layer MLP mixes channels; residual around both."""

    def __init__(self, width: int, drop_path: float, act: type[nn.Module]) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1, bias=False), nn.BatchNorm2d(2 * width), act(), nn.Conv2d(2 * width, width, 1, bias=False)
        )
        self.quarter, self.drop_path = width // 4, drop_path
        self.spatial_mixing = nn.ModuleDict(
            {"partial_conv3": nn.Conv2d(self.quarter, self.quarter, 3, padding=1, bias=False)}  # a dictionary for the name's sake
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.spatial_mixing["partial_conv3"](x[:, : self.quarter])
        out = self.mlp(torch.cat([mixed, x[:, self.quarter :]], 1))
        if self.training and self.drop_path > 0:
            keep = 1 - self.drop_path
            out = out * out.new_empty(len(out), 1, 1, 1).bernoulli_(keep) / keep
        return x + out
