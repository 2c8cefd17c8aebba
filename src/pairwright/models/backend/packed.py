"""bf16 on a CPU with weights laid out once for its matrix units, and the residual added by the product itself.

A product in eager mode re-orders its weight on every call and copies the bias into the output first, which costs as much as a third of a
vision transformer. oneDNN's linear takes a weight that was re-ordered once.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pairwright.models.towers.block import Between, Block, Only, pick
from pairwright.models.towers.stack import Transformer


def supported() -> bool:
    """True where this build of torch has oneDNN's linear with packed weights, and the processor multiplies bf16."""
    return bool(
        torch.backends.mkldnn.is_available()
        and all(hasattr(torch.ops.mkldnn, op) for op in ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise"))
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def pack(tower: nn.Module) -> nn.Module:
    """A copy of a tower in bf16 whose linear layers, blocks and patch embedding are packed; whatever is not plain stays as it is."""
    tower = copy.deepcopy(tower).to(torch.bfloat16).eval().requires_grad_(False)
    return _packed(tower)


def _packed(module: nn.Module) -> nn.Module:
    if type(module) is Block and _plain_block(module):
        return PackedBlock(module)
    if type(module) is nn.Linear and _untouched(module):
        return PackedLinear(module.weight, module.bias)
    if type(module) is nn.Conv2d and _untouched(module) and _cuts_patches(module):
        return PackedPatches(module)
    if type(module) is Transformer and type(last := module.resblocks[-1]) is Block and _plain_block(last):
        module.resblocks[-1] = PackedBlock(last, parted=True)
    for name, child in module.named_children():
        setattr(module, name, _packed(child))
    return module


def _untouched(module: nn.Module) -> bool:
    """No hook and no re-parametrised weight: the module does what its class says and nothing else."""
    return not (module._forward_hooks or module._forward_pre_hooks or hasattr(module, "parametrizations"))


def _plain_block(block: Block) -> bool:
    linear = (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj)
    return all(type(m) is nn.Linear for m in linear) and all(_untouched(m) for m in block.modules())


def _cuts_patches(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == conv.stride and conv.groups == 1 and conv.padding == (0, 0) and conv.dilation == (1, 1)


class PackedLinear(nn.Module):
    """x W' + b with the weight in oneDNN's own layout; a GELU of it or the sum with ``plus`` is taken in the same pass."""

    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: str = "") -> None:
        """gelu: ``none`` for the exact one, ``tanh`` for its approximation, as torch calls them; "" for none at all."""
        super().__init__()
        self.bias, self.then, self.form = bias, "gelu" if gelu else "none", gelu
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        if plus is None:
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.then, [], self.form)
        return torch.ops.mkldnn._linear_pointwise.binary(x, plus, self.packed, self.bias, "add")


class PackedPatches(nn.Module):
    """A convolution whose stride is its kernel, as one product over the patches."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.cell = conv.weight, conv.kernel_size
        self.linear = PackedLinear(conv.weight.flatten(1), conv.bias)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        B, C, H, W = x_B3HW.shape
        (p, q), h, w = self.cell, H // self.cell[0], W // self.cell[1]
        cells = x_B3HW[:, :, : h * p, : w * q].reshape(B, C, h, p, w, q).permute(0, 2, 4, 1, 3, 5)
        return self.linear(cells.reshape(B, h * w, C * p * q)).transpose(1, 2).unflatten(2, (h, w))


class PackedBlock(nn.Module):
    """`Block` without its extension points, but for the reduction of tokens."""

    def __init__(self, block: Block, parted: bool = False) -> None:
        """parted: queries apart from keys and values, for a block that may be asked for one token only."""
        super().__init__()
        self.heads = block.attn.heads
        self.ln_1, self.ln_2, self.ls_1, self.ls_2, self.act = block.ln_1, block.ln_2, block.ls_1, block.ls_2, block.mlp.gelu
        gelu = self.act.approximate if type(self.act) is nn.GELU else ""
        self.scaled = not isinstance(block.ls_1, nn.Identity)
        E, weight, bias = block.attn.out_proj.in_features, block.attn.in_proj_weight, block.attn.in_proj_bias
        cuts = ((0, E), (E, 3 * E)) if parted else ((0, 3 * E),)
        self.qkv = nn.ModuleList(PackedLinear(weight[a:b], None if bias is None else bias[a:b].clone()) for a, b in cuts)
        self.out = PackedLinear(block.attn.out_proj.weight, block.attn.out_proj.bias)
        self.fc = PackedLinear(block.mlp.c_fc.weight, block.mlp.c_fc.bias, gelu)
        if gelu:
            self.act = nn.Identity()
        self.proj = PackedLinear(block.mlp.c_proj.weight, block.mlp.c_proj.bias)

    def forward(
        self,
        x_BLE: Tensor,
        *,
        causal: bool = False,
        mask_BL: Tensor | None = None,
        rewrite: Any = None,
        size_BL: Tensor | None = None,
        between: Between | None = None,
        only: Only | None = None,
        **_: Any,
    ) -> Tensor:
        assert mask_BL is None, "packed towers take no masks"
        assert rewrite is None, "packed towers take no rewritten attention"
        y_BLE = self.ln_1(x_BLE)
        if only is None:
            parts = [linear(y_BLE) for linear in self.qkv]
        else:
            assert between is None, "one token cannot stand for a reduced sequence"
            assert not causal, "packed towers are those of images"
            parts, x_BLE = [self.qkv[0](pick(y_BLE, only)), self.qkv[1](y_BLE)], pick(x_BLE, only)
        q, k, v = (part for wide in parts for part in self._heads(wide, x_BLE.shape[2]))
        bias = None if size_BL is None else size_BL.to(q.dtype).log()[:, None, None, :]
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal).transpose(1, 2).flatten(2)
        if self.scaled:
            x = x_BLE + self.ls_1(self.out(heads))
            x = x if between is None else between(x, k)
            return x + self.ls_2(self.proj(self.act(self.fc(self.ln_2(x)))))
        x = self.out(heads, plus=x_BLE)
        x = x if between is None else between(x, k)
        return self.proj(self.act(self.fc(self.ln_2(x))), plus=x)

    def _heads(self, x_BLF: Tensor, width: int) -> tuple[Tensor, ...]:
        """(B, L, n E) -> n tensors (B, heads, L, E / heads)."""
        B, L, F_ = x_BLF.shape
        return x_BLF.view(B, L, F_ // width, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
