"""The last block computes the pooled token only: the same embeddings and gradients, and only where nobody looks at other tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pairwright.models.towers.block import Block
from pairwright.models.towers.text import TextTransformer
from pairwright.models.towers.vit import VisionTransformer

TEXTS = {
    "causal": {"pool": "argmax"},
    "causal, end token": {"pool": "eos", "eos_id": 49},
    "masked, first": {"pool": "first", "causal": False, "pad_mask": True},
    "masked, last": {"pool": "last", "causal": True, "pad_mask": True},
}
VITS = {"plain": {}, "scaled": {"layer_scale": 0.3}, "no bias": {"qkv_bias": False}}


def vit(**more: object) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(size=32, patch=8, width=32, layers=3, heads=4, dim=12, **more).double()


def words(**more: object) -> tuple[TextTransformer, Tensor]:
    torch.manual_seed(0)
    tower = TextTransformer(vocab=50, context=12, width=32, layers=3, heads=4, dim=12, **more).double()
    ids = torch.zeros(4, 12, dtype=torch.long)
    for row, n in zip(ids, (3, 9, 5, 12), strict=True):
        row[: n - 1] = torch.randint(1, 48, (n - 1,))
        row[n - 1] = 49
    return tower, ids


def grads(tower: torch.nn.Module, z_BD: Tensor) -> dict[str, Tensor]:
    tower.zero_grad()
    (z_BD * torch.linspace(-1, 1, z_BD.numel()).view_as(z_BD)).sum().backward()
    return {n: p.grad.clone() for n, p in tower.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", VITS)
def test_image_rows_and_gradients_are_those_of_all_tokens(kind: str) -> None:
    tower, x = vit(**VITS[kind]), torch.randn(3, 3, 32, 32).double()
    alone, every = tower(x).z_BD, tower(x, tokens=True).z_BD
    torch.testing.assert_close(alone, every, atol=1e-12, rtol=0)
    torch.testing.assert_close(grads(tower, alone), grads(tower, every), atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", TEXTS)
def test_text_rows_and_gradients_are_those_of_all_tokens(kind: str) -> None:
    tower, ids = words(**TEXTS[kind])
    alone, every = tower(ids).z_BD, tower(ids, tokens=True).z_BD
    torch.testing.assert_close(alone, every, atol=1e-12, rtol=0)
    torch.testing.assert_close(grads(tower, alone), grads(tower, every), atol=1e-10, rtol=0)


def test_it_does_spare_the_other_tokens_and_only_where_nobody_asks_for_them() -> None:
    tower, x = vit(), torch.randn(2, 3, 32, 32).double()
    seen: list[int] = []
    tower.transformer.resblocks[-1].mlp.register_forward_hook(lambda m, args, out: seen.append(out.shape[1]))
    deep = [None, torch.randn(2, 32).double()]
    for ask in (
        {},
        {"taps": ("1", "q@0")},
        {"deep": deep},
        {"tokens": True},
        {"taps": ("-1",)},
        {"taps": ("attn@2",)},
        {"mix": lambda t, i: t},
    ):
        tower(x, **ask)
    assert seen == [1, 1, 1, 17, 17, 17, 17]
    torch.testing.assert_close(tower(x, deep=deep).z_BD, tower(x, deep=deep, tokens=True).z_BD, atol=1e-12, rtol=0)


def test_pooling_over_all_tokens_keeps_them() -> None:
    for more in ({"pool": "avg"}, {"pool": "map", "class_token": False}):
        tower, seen = vit(**more), []
        tower.transformer.resblocks[-1].mlp.register_forward_hook(lambda m, args, out, seen=seen: seen.append(out.shape[1]))
        tower(torch.randn(1, 3, 32, 32).double())
        assert seen[0] >= 16


def test_a_block_refuses_what_one_token_cannot_stand_for() -> None:
    block = Block(8, 2, mlp_width=16)
    with pytest.raises(AssertionError, match="cannot stand for"):
        block(torch.randn(1, 3, 8), only=0, between=lambda x, k: x)
