"""Any timm network (ConvNeXt, ResNet, Swin, …) as an image tower, with the parameter names of open_clip's timm adapter."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairwright.core.encoded import Encoded
from pairwright.models.towers.wrapped import refuse


class TimmImage(nn.Module):
    """Image encoder from a timm model: (B, 3, H, W) -> Encoded.

    name: timm's model name; dim: joint width D; size: image side in pixels that it is meant for; pool: timm's global pooling (``""``
    for the network's own); proj: ``linear``, ``mlp``, ``none``, or ``""`` to use the network's classifier as the projection.
    Points: ``taps`` where timm can return intermediate stages (``taps=("2",)``: stage 2 as (B, C, h, w)), ``tokens`` for convolutional
    networks (each place of the last feature map pooled and projected by itself).
    """

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
        self.spec = {"kind": "timm", **spec}
        import timm
        from timm.layers import Mlp

        if proj not in ("linear", "mlp", "none", ""):
            raise ValueError(f"unknown projection {proj!r}: choose linear, mlp, none, or '' for the network's own classifier")
        if pool in ("abs_attn", "rot_attn"):
            raise ValueError(f"the pooling {pool!r} belongs to open_clip's adapter: load such a model by its name")
        more = {} if drop_path is None else {"drop_path_rate": drop_path}
        try:
            if proj in ("linear", "mlp"):
                self.trunk = timm.create_model(name, pretrained=False, **more)
                self.trunk.reset_classifier(0, **({"global_pool": pool} if pool else {}))
            else:
                self.trunk = timm.create_model(name, pretrained=False, num_classes=dim if not proj else 0, global_pool=pool, **more)
        except RuntimeError as e:
            close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:8])
            raise ValueError(f"timm cannot build {name!r}: {e}" + (f". Close names: {close}" if close else "")) from None
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        head: OrderedDict[str, nn.Module] = OrderedDict()
        features = self.trunk.num_features if not hasattr(self.trunk, "head_hidden_size") else self.trunk.head_hidden_size
        if proj == "linear":
            head["drop"] = nn.Dropout(drop)
            head["proj"] = nn.Linear(features, dim, bias=proj_bias)
        elif proj == "mlp":
            head["mlp"] = Mlp(features, 2 * dim, dim, drop=(drop, 0), bias=(True, proj_bias))
        self.head = nn.Sequential(head)
        self.width = features if proj == "none" else dim
        points = {"taps"} if hasattr(self.trunk, "forward_intermediates") else set()
        if getattr(self.trunk, "output_fmt", "NCHW") == "NCHW" and self.trunk.default_cfg.get("pool_size"):
            points.add("tokens")
        self.points = frozenset(points)

    def forward(self, x_B3HW: Float[Tensor, "B 3 H W"], *, tokens: bool = False, taps: Sequence[str] = (), **ask: object) -> Encoded:
        refuse(f"the timm tower {self.spec['name']}", {"tokens": tokens, "taps": taps, **ask}, self.points)
        x_B3HW = x_B3HW.to(next(self.parameters()).dtype)
        kept: dict[str, Tensor] = {}
        if taps:
            x, stages = self.trunk.forward_intermediates(x_B3HW, indices=sorted({int(t) for t in taps}))
            kept = {str(i): s for i, s in zip(sorted({int(t) for t in taps}), stages)}
        else:
            x = self.trunk.forward_features(x_B3HW)
        out = self.head(self.trunk.forward_head(x))
        if not tokens:
            return Encoded.of(out, taps=kept)
        B, C, h, w = x.shape
        places = x.permute(0, 2, 3, 1).reshape(B * h * w, C, 1, 1)
        patch_BMD = self.head(self.trunk.forward_head(places)).view(B, h * w, -1)
        mask = torch.ones(B, h * w, dtype=torch.bool, device=x.device)
        return Encoded.of(out, tokens_BMD=patch_BMD, mask_BM=mask, grid=(h, w), taps=kept)
