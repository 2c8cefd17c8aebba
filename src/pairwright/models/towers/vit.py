"""Our vision transformer: pre-norm, pooled at the class token, by average, or by attention; with explicit extension points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairwright.core.encoded import Encoded
from pairwright.models.towers.block import ACTIVATIONS, AttendFn, Rewrite, hidden_width
from pairwright.models.towers.reduce import Reduction
from pairwright.models.towers.stack import MixFn, Transformer

Pool = Literal["tok", "avg", "map"]


class VisionTransformer(nn.Module):
    """Image encoder of the CLIP family: (B, 3, H, W) -> Encoded.

    size, patch: in pixels, one number or (height, width); width: E; dim: joint width D (None: no projection, D = E). pool: ``tok`` (class
    token), ``avg`` (mean of the patches) or ``map`` (attention with one learned query, as in SigLIP). ln_pre: normalise before the first
    block (CLIP). norm_after_pool: final norm on the pooled vector instead of on the tokens. patch_dropout: share of patches left out in
    training (FLIP). Other image sizes than `size` work: position embeddings are interpolated.

    Call arguments (all optional): ``tokens=True`` adds patch tokens in the joint space (for ``map``: each patch pooled by itself);
    ``taps=("3", "attn@5")`` keeps the output of block 3 (class token first) and the attention weights of block 5; ``deep=[P E per
    layer]`` adds P prompt tokens behind the patches before block i, in place of those of the block before (entry None: those ride on);
    ``mix(tokens, layer)`` rewrites class token and patches after each block and may reduce them, then returning (tokens, kept ids, class
    token first); the patches left are listed in ``aux["kept_BM"]``; ``attend=`` replaces attention (see Rewrite); ``reduce=`` merges or
    drops patches inside of blocks (see Reduction), for this call in place of the tower's own `reduce`, which stands for every call that
    names none. ``aux["size_BM"]`` then tells how many patches each remaining one stands for.
    """

    points = frozenset({"tokens", "taps", "deep", "mix", "attend", "reduce", "patch_dropout"})
    reduce: Reduction | None = None

    def __init__(
        self,
        *,
        size: int | tuple[int, int] = 224,
        patch: int | tuple[int, int] = 32,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        dim: int | None = 512,
        mlp_ratio: float = 4.0,
        act: str = "gelu",
        eps: float = 1e-5,
        layer_scale: float | None = None,
        pool: Pool = "tok",
        class_token: bool = True,
        ln_pre: bool = True,
        patch_bias: bool = False,
        proj_bias: bool = False,
        norm_after_pool: bool = False,
        qkv_bias: bool = True,
        patch_dropout: float = 0.0,
    ) -> None:
        spec = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        self.spec = {"kind": "vit", **spec}
        if pool not in ("tok", "avg", "map") or (pool == "tok" and not class_token):
            raise ValueError(f"cannot pool with {pool!r} (class token: {class_token}): choose tok (needs a class token), avg or map")
        if not 0 <= patch_dropout < 1:
            raise ValueError(f"patch_dropout is a share in [0, 1), got {patch_dropout}")
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.patch = (patch, patch) if isinstance(patch, int) else tuple(patch)
        self.grid = (self.size[0] // self.patch[0], self.size[1] // self.patch[1])
        self.width, self.encoder_width, self.depth = width if dim is None else dim, width, layers
        self.pool, self.prefix, self.norm_after_pool, self.patch_dropout = pool, int(class_token), norm_after_pool, patch_dropout
        self.conv1 = nn.Conv2d(3, width, self.patch, self.patch, bias=patch_bias)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5) if class_token else None
        self.positional_embedding = nn.Parameter(torch.randn(self.grid[0] * self.grid[1] + self.prefix, width) * width**-0.5)
        self.ln_pre = nn.LayerNorm(width, eps) if ln_pre else nn.Identity()
        mlp_width = hidden_width(width, mlp_ratio)
        self.transformer = Transformer(
            width, layers, heads, mlp_width=mlp_width, act=act, eps=eps, layer_scale=layer_scale, qkv_bias=qkv_bias
        )
        self.ln_post = nn.LayerNorm(width, eps)
        self.attn_pool = AttentionPool(width, heads, mlp_width, act, eps) if pool == "map" else None
        self.proj: nn.Parameter | nn.Linear | None = None
        if dim is not None:
            self.proj = nn.Linear(width, dim) if proj_bias else nn.Parameter(torch.randn(width, dim) * width**-0.5)

    def positions(self, grid: tuple[int, int]) -> Float[Tensor, "L E"]:
        """Position embeddings for a grid of patches, interpolated where it is not the trained one."""
        return resize_positions(self.positional_embedding, self.grid, grid, self.prefix)

    def forward(
        self,
        x_B3HW: Float[Tensor, "B 3 H W"],
        *,
        tokens: bool = False,
        taps: Sequence[str] = (),
        deep: Sequence[Tensor | None] | None = None,
        mix: MixFn | None = None,
        attend: AttendFn | Rewrite | None = None,
        reduce: Reduction | None = None,
    ) -> Encoded:
        reduce = self.reduce if reduce is None else reduce
        maps = self.conv1(x_B3HW.to(self.conv1.weight.dtype))
        grid: tuple[int, int] | None = (maps.shape[2], maps.shape[3])
        x = maps.flatten(2).transpose(1, 2)
        if self.class_embedding is not None:
            x = torch.cat([self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], 1)
        x = x + self.positions(grid).to(x.dtype)  # type: ignore[arg-type]
        dropped = self._drop(x)
        if dropped is not None:
            x, grid = x.gather(1, dropped.unsqueeze(-1).expand(-1, -1, x.shape[2])), None
        state = self.transformer(
            self.ln_pre(x),
            grid=grid,
            taps=taps,
            extra=_riders(deep),
            mix=self._guard(mix),
            attend=attend,
            reduce=reduce,
            prefix=self.prefix,
            only=0 if self.pool == "tok" and self.attn_pool is None and not tokens else None,
        )
        kept = state.kept_BL
        if dropped is not None:
            kept = dropped if kept is None else dropped.gather(1, kept)
        x = state.x_BLE
        patch_BMD = None
        if tokens:
            patches = x[:, self.prefix :]
            patch_BMD = self.project(self._map_each(self.ln_post(patches)) if self.attn_pool is not None else self.ln_post(patches))
        aux = {} if kept is None else {"kept_BM": kept[:, self.prefix :] - self.prefix}
        size_BM = None if state.size_BL is None else state.size_BL[:, self.prefix :]
        if size_BM is not None:
            aux["size_BM"] = size_BM
        return Encoded.of(
            self.project(self._pooled(x, size_BM)),
            tokens_BMD=patch_BMD,
            mask_BM=None if patch_BMD is None else torch.ones(patch_BMD.shape[:2], dtype=torch.bool, device=x.device),
            grid=grid if kept is None else None,
            taps=state.taps,
            aux=aux,
        )

    def _pooled(self, x: Tensor, size_BM: Tensor | None) -> Tensor:
        patches = x[:, self.prefix :]
        if self.attn_pool is not None:
            return self.attn_pool(self.ln_post(patches), size_BM)
        if self.pool == "tok":
            return self.ln_post(x[:, 0])
        if self.norm_after_pool:
            return self.ln_post(weighted_mean(patches, size_BM))
        return weighted_mean(self.ln_post(patches), size_BM)

    def _map_each(self, x_BME: Tensor) -> Tensor:
        B, M, E = x_BME.shape
        return self.attn_pool(x_BME.reshape(B * M, 1, E)).view(B, M, E)  # type: ignore[misc]

    def _drop(self, x: Tensor) -> Tensor | None:
        """Ids of the tokens that stay when patches are dropped in training."""
        if not self.training or not self.patch_dropout:
            return None
        B, M = x.shape[0], x.shape[1] - self.prefix
        stay = max(1, int(M * (1 - self.patch_dropout)))
        ids = torch.rand(B, M, device=x.device).topk(stay, dim=1).indices.sort(1).values + self.prefix
        first = torch.arange(self.prefix, device=x.device).expand(B, -1)
        return torch.cat([first, ids], 1)

    def _guard(self, mix: MixFn | None) -> MixFn | None:
        if mix is None or not self.prefix:
            return mix

        def guarded(x: Tensor, layer: int) -> Tensor | tuple[Tensor, Tensor]:
            out = mix(x, layer)
            if isinstance(out, tuple) and bool((out[1][:, 0] != 0).any()):
                raise ValueError("the mix hook must keep the class token (id 0) in the first place")
            return out

        return guarded

    def project(self, x: Tensor) -> Tensor:
        """Width E -> joint width D."""
        if self.proj is None:
            return x
        return self.proj(x) if isinstance(self.proj, nn.Linear) else x @ self.proj


class AttentionPool(nn.Module):
    """Pooling by attention with one learned query, followed by a residual feed-forward layer (the MAP head of SigLIP)."""

    def __init__(self, width: int, heads: int, mlp_width: int, act: str, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.latent = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, mlp_width), "fc2": nn.Linear(mlp_width, width)})
        self.act = ACTIVATIONS[act]()

    def forward(self, x_BME: Tensor, size_BM: Tensor | None = None) -> Tensor:
        B, M, E = x_BME.shape
        bias = None if size_BM is None else size_BM.to(x_BME.dtype).log()[:, None, None, :]
        q = self.q(self.latent).view(1, 1, self.heads, -1).transpose(1, 2).expand(B, -1, -1, -1)
        k, v = self.kv(x_BME).view(B, M, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = self.proj(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(B, E))
        return x + self.mlp["fc2"](self.act(self.mlp["fc1"](self.norm(x))))


def weighted_mean(x_BME: Tensor, size_BM: Tensor | None) -> Tensor:
    """Mean over tokens (B, E), each counted as often as it stands for others."""
    if size_BM is None:
        return x_BME.mean(1)
    return (x_BME * size_BM.to(x_BME.dtype).unsqueeze(-1)).sum(1) / size_BM.sum(1, keepdim=True).to(x_BME.dtype)


def resize_positions(pos_LE: Tensor, old: tuple[int, int], new: tuple[int, int], prefix: int) -> Tensor:
    """Bicubic, antialiased interpolation of a grid of position embeddings; the first `prefix` rows stay."""
    if old == new:
        return pos_LE
    first, grid = pos_LE[:prefix], pos_LE[prefix:]
    image = grid.float().T.reshape(1, -1, *old)
    image = F.interpolate(image, size=new, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first, image.flatten(2)[0].T.to(pos_LE.dtype)])


def _riders(deep: Sequence[Tensor | None] | None):
    """deep[i] as the tokens that ride behind the patches from block i on; None and empty entries change nothing."""
    if not deep:
        return None

    def riders(layer: int) -> Tensor | None:
        new = deep[layer] if layer < len(deep) else None
        return None if new is None or new.shape[-2] == 0 else new

    return riders
