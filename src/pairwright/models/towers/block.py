"""The transformer that every tower of ours is built on: pre-norm blocks whose extension points are arguments of the call.

Parameter names are those of the CLIP checkpoints in circulation (``resblocks.3.attn.in_proj_weight``), so weights load by name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AttendFn = Callable[[Tensor, Tensor, Tensor, "tuple[int, int] | None", int], Tensor]
Between = Callable[[Tensor, Tensor], Tensor]
"""Tokens (B, L, E) after a block's attention and the keys (B, H, L, d) of that attention -> the tokens that its second half sees."""


Only = int | Tensor
"""The place of one token in each row: the same for all, or (B,)."""


def pick(x_BLE: Tensor, only: Only) -> Tensor:
    """One token of each row: (B, L, E) -> (B, 1, E)."""
    if isinstance(only, int):
        return x_BLE[:, only : only + 1]
    return x_BLE.gather(1, only[:, None, None].expand(-1, -1, x_BLE.shape[2]))


def reachable(x_BLE: Tensor, only: Only, mask_BL: Tensor | None, causal: bool) -> Tensor | None:
    """Which tokens (B, L) the one of each row may attend to; None for all."""
    if not causal:
        return mask_BL
    before_BL = torch.arange(x_BLE.shape[1], device=x_BLE.device) <= (only if isinstance(only, int) else only[:, None])
    before_BL = before_BL.expand(x_BLE.shape[:2])
    return before_BL if mask_BL is None else before_BL & mask_BL


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x): the approximation that OpenAI's CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
}


def hidden_width(width: int, ratio: float) -> int:
    """Width of the feed-forward half. Rounded down as the checkpoints' authors did, but 1152 * (4304 / 1152) is 4304."""
    return int(width * ratio + 1e-3)


class LayerScale(nn.Module):
    """A learned gain per channel on a residual branch."""

    def __init__(self, width: int, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), init))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


@dataclass(frozen=True)
class Rewrite:
    """Replace the attention of some blocks: ``attend(q, k, v, grid, layer) -> out``, tensors (B, heads, tokens, head width).

    Tokens come with the class token (if any) first and deep prompts last; grid is (h, w) of the patches, None for text and for reduced
    tokens. The scale 1/sqrt(head width) and, in a causal tower, the mask are the function's own business. layers: block numbers,
    negative from the end, None for all. residual=False drops the skip connection around the attention, ffn=False the feed-forward half.
    """

    attend: AttendFn
    layers: tuple[int, ...] | None = None
    residual: bool = True
    ffn: bool = True


class Attention(nn.Module):
    """Multi-head self-attention with packed projections."""

    def __init__(self, width: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be split into {heads} heads")
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width)) if bias else None
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.in_proj_weight, std=width**-0.5)

    def split(self, x_BLE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L, E) -> q, k, v of (B, H, L, E/H)."""
        B, L, _ = x_BLE.shape
        qkv = F.linear(x_BLE, self.in_proj_weight, self.in_proj_bias)
        return qkv.view(B, L, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)

    def split_for(self, x_B1E: Tensor, x_BLE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of x_B1E (B, H, 1, E/H), keys and values of x_BLE (B, H, L, E/H)."""
        B, L, E = x_BLE.shape
        weight, bias = self.in_proj_weight, self.in_proj_bias
        q = F.linear(x_B1E, weight[:E], None if bias is None else bias[:E])
        kv = F.linear(x_BLE, weight[E:], None if bias is None else bias[E:])
        return q.view(B, 1, self.heads, -1).transpose(1, 2), *kv.view(B, L, 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)

    def join(self, heads_BHLd: Tensor) -> Tensor:
        """Heads back to (B, L, E) through the output projection."""
        return self.out_proj(heads_BHLd.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One pre-norm block: x + attention(ln(x)), then x + ffn(ln(x))."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_width: int,
        act: str = "gelu",
        eps: float = 1e-5,
        layer_scale: float | None = None,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        if act not in ACTIVATIONS:
            raise ValueError(f"unknown activation {act!r}: choose one of {', '.join(ACTIVATIONS)}")
        self.ln_1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads, qkv_bias)
        self.ln_2 = nn.LayerNorm(width, eps)
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(width, mlp_width), gelu=ACTIVATIONS[act](), c_proj=nn.Linear(mlp_width, width)))
        self.ls_1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.ls_2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

    def forward(
        self,
        x_BLE: Tensor,
        *,
        layer: int = 0,
        causal: bool = False,
        mask_BL: Tensor | None = None,
        rewrite: Rewrite | None = None,
        grid: tuple[int, int] | None = None,
        want: frozenset[str] = frozenset(),
        taps: dict[str, Tensor] | None = None,
        size_BL: Tensor | None = None,
        between: Between | None = None,
        only: Only | None = None,
    ) -> Tensor:
        """size_BL: how many tokens each one stands for (attended to that many times); between: see Between. only: the one token of each
        row whose output is asked for, which then is all that comes back (B, 1, E)."""
        y_BLE = self.ln_1(x_BLE)
        if only is None:
            q, k, v = self.attn.split(y_BLE)
        else:
            assert rewrite is None, "one token cannot stand for a sequence whose attention is rewritten"
            assert between is None, "one token cannot stand for a reduced sequence"
            q, k, v = self.attn.split_for(pick(y_BLE, only), y_BLE)
            mask_BL, causal = reachable(x_BLE, only, mask_BL, causal), False
            x_BLE = pick(x_BLE, only)
        allowed = None if mask_BL is None else mask_BL[:, None, None, :]
        if size_BL is not None:
            log_B11L = size_BL.to(q.dtype).log()[:, None, None, :]
            allowed = log_B11L if allowed is None else log_B11L.masked_fill(~allowed, float("-inf"))
        if causal and allowed is not None:
            L = x_BLE.shape[1]
            allowed = allowed & torch.ones(L, L, dtype=torch.bool, device=x_BLE.device).tril()
        if rewrite is not None:
            heads = rewrite.attend(q, k, v, grid, layer)
        else:
            heads = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=causal and allowed is None)
        branch = self.ls_1(self.attn.join(heads))
        x = branch if rewrite is not None and not rewrite.residual else x_BLE + branch
        if between is not None:
            x = between(x, k)
        ffn = None
        if rewrite is None or rewrite.ffn:
            ffn = self.ls_2(self.mlp(self.ln_2(x)))
            x = x + ffn
        if want and taps is not None:
            made = {"q": q, "k": k, "v": v, "heads": heads, "out": branch, "mlp": ffn if ffn is not None else torch.zeros_like(x)}
            if "attn" in want:
                made["attn"] = attention_weights(q, k, causal, allowed)
            taps.update({name: made[name] for name in want})
        return x


def attention_weights(q: Tensor, k: Tensor, causal: bool = False, allowed: Tensor | None = None) -> Tensor:
    """softmax(q k' / sqrt(d)) as a tensor (B, H, L, L), for those who want to look at it."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if allowed is None and causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    return (scores if allowed is None else scores.masked_fill(~allowed, float("-inf"))).softmax(-1)
