"""Packed bf16 towers against the fp32 tower, and what must not be packed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pairwright.models.backend.packed import PackedBlock, PackedLinear, PackedPatches, pack, supported
from pairwright.models.towers.reduce import Reduced
from pairwright.models.towers.vit import VisionTransformer

pytestmark = pytest.mark.skipif(not supported(), reason="this processor does not multiply bf16")


def tower(**more: object) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(size=32, patch=8, width=64, layers=2, heads=4, dim=24, **more).eval()


def pictures(n: int = 5, size: int = 32) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize(
    "more", [{}, {"layer_scale": 0.1}, {"pool": "map", "class_token": False}, {"patch_bias": True, "act": "quick_gelu"}]
)
def test_rows_are_those_of_fp32_within_bf16(more: dict) -> None:
    plain = tower(**more)
    packed = pack(plain)
    assert isinstance(packed.conv1, PackedPatches)
    assert all(isinstance(b, PackedBlock) for b in packed.transformer.resblocks)
    cosine = (packed(pictures()).z_BD * plain(pictures()).z_BD).sum(-1)
    assert cosine.min() > 0.9995
    assert plain.conv1.weight.dtype == torch.float32  # the model itself is left as it was


@torch.no_grad()
def test_the_packed_product_is_the_product_and_adds_what_it_is_told() -> None:
    g = torch.Generator().manual_seed(0)
    x, w, b, plus = (torch.randn(*s, generator=g).bfloat16() for s in ((3, 7, 32), (48, 32), (48,), (3, 7, 48)))
    want = x.double() @ w.double().T + b.double()
    linear = PackedLinear(w, b)
    torch.testing.assert_close(linear(x).double(), want, atol=0.05, rtol=0.01)
    torch.testing.assert_close(linear(x, plus=plus).double(), want + plus.double(), atol=0.08, rtol=0.01)
    torch.testing.assert_close(PackedLinear(w, None)(x).double(), want - b.double(), atol=0.05, rtol=0.01)


@torch.no_grad()
def test_patches_that_do_not_fill_the_picture_are_left_out_as_a_convolution_does() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 8, 8).bfloat16()
    x = pictures(2, 37).bfloat16()
    torch.testing.assert_close(PackedPatches(conv)(x).float(), conv(x).float(), atol=0.03, rtol=0.02)


def test_hooked_and_reparametrised_layers_are_left_alone() -> None:
    plain = tower()
    plain.transformer.resblocks[0].mlp.c_fc.register_forward_hook(lambda m, args, out: out * 0)
    torch.nn.utils.parametrizations.weight_norm(plain.transformer.resblocks[1].attn.out_proj)
    packed = pack(plain)
    assert not any(isinstance(b, PackedBlock) for b in packed.transformer.resblocks)
    with torch.no_grad():
        cosine = (packed(pictures()).z_BD * plain(pictures()).z_BD).sum(-1)
    assert cosine.min() > 0.9995


class EveryOther:
    """A reduction that drops every second token and says that each other one stands for two."""

    def __call__(self, x_BLE, k_BHLd, *, size_BL, layer, depth, prefix):
        kept_BL = torch.arange(0, x_BLE.shape[1], 2).expand(len(x_BLE), -1)
        return Reduced(x_BLE[:, ::2], kept_BL, torch.full(kept_BL.shape, 2.0) if size_BL is None else size_BL[:, ::2])

    def left(self, tokens, layer, depth):
        return tokens // 2


@torch.no_grad()
def test_a_packed_tower_reduces_its_tokens_as_the_tower_does() -> None:
    plain = tower(pool="avg", class_token=False)
    whole = plain(pictures()).z_BD
    plain.reduce = EveryOther()
    got, want = pack(plain)(pictures()), plain(pictures())
    assert got.aux["size_BM"].shape == want.aux["size_BM"].shape == (5, 4)
    assert (got.z_BD * want.z_BD).sum(-1).min() > 0.9995
    assert (whole * want.z_BD).sum(-1).max() < 0.999
