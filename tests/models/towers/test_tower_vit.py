"""The vision transformer: pooling, interpolation, patch dropout, and each extension point."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pairwright.models.towers.block import Rewrite
from pairwright.models.towers.vit import VisionTransformer

SMALL = {"size": 32, "patch": 8, "width": 24, "layers": 3, "heads": 3, "dim": 10}


def make(**more) -> VisionTransformer:
    torch.manual_seed(0)
    tower = VisionTransformer(**{**SMALL, **more}).eval()
    with torch.no_grad():
        for p in tower.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return tower


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pool", ["tok", "avg", "map"])
def test_a_patch_tower_sees_patches_and_positions(pool: str, x: torch.Tensor) -> None:
    """Exchanging two patches and their position embeddings changes nothing; exchanging the patches alone does."""
    tower = make(pool=pool, class_token=pool != "map")
    z = tower(x).z_BD
    swapped = x.clone()
    swapped[:, :, :8, :8], swapped[:, :, :8, 8:16] = x[:, :, :8, 8:16], x[:, :, :8, :8]
    assert (tower(swapped).z_BD - z).abs().max() > 1e-4
    with torch.no_grad():
        p = tower.positional_embedding[tower.prefix :]
        p[[0, 1]] = p[[1, 0]]
    torch.testing.assert_close(tower(swapped).z_BD, z, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pool", ["tok", "avg", "map"])
def test_patch_tokens_pooled_as_the_tower_pools(pool: str, x: torch.Tensor) -> None:
    tower = make(pool=pool, class_token=pool != "map")
    e = tower(x, tokens=True)
    assert e.tokens_BMD.shape == (2, 16, 10)
    assert e.grid == (4, 4)
    assert bool(e.mask_BM.all())
    if pool == "avg":  # projection is linear, so the mean of the tokens is the pooled vector
        torch.testing.assert_close(F.normalize(e.tokens_BMD.mean(1), dim=-1), e.z_BD)
    if pool == "map":  # a picture of one patch is pooled over that patch alone
        one = make(pool="map", class_token=False, size=8)
        single = one(x[:, :, :8, :8], tokens=True)
        torch.testing.assert_close(F.normalize(single.tokens_BMD[:, 0], dim=-1), single.z_BD)


def test_other_image_sizes_interpolate_the_positions(x: torch.Tensor) -> None:
    tower = make()
    e = tower(torch.randn(1, 3, 48, 24), tokens=True)
    assert e.grid == (6, 3)
    with torch.no_grad():  # a position plane that is linear in the column stays so in the middle
        tower.positional_embedding.zero_()
        tower.positional_embedding[1:, 0] = torch.arange(4.0).repeat(4)
    wide = tower.positions((4, 8))[1:, 0].view(4, 8)
    torch.testing.assert_close(wide[:, 3:5], torch.tensor([1.25, 1.75]).expand(4, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(tower.positions((4, 4)), tower.positional_embedding)


def test_taps_equal_a_forward_hook(x: torch.Tensor) -> None:
    tower = make()
    hooked = []
    tower.transformer.resblocks[1].register_forward_hook(lambda m, a, out: hooked.append(out))
    e = tower(x, taps=("1", "attn@2", "k@0"))
    torch.testing.assert_close(e.taps["1"], hooked[0])
    assert e.taps["attn@2"].shape == (2, 3, 17, 17)
    assert e.taps["k@0"].shape == (2, 3, 17, 8)


def test_empty_deep_prompts_change_nothing(x: torch.Tensor) -> None:
    tower = make()
    for deep in ([], [None] * 3, [torch.zeros(0, 24)] * 3):
        assert torch.equal(tower(x, deep=deep).z_BD, tower(x).z_BD)


def test_deep_prompts_ride_behind_the_patches_and_are_replaced(x: torch.Tensor) -> None:
    tower = make()
    deep = [torch.randn(2, 24), None, torch.randn(5, 24)]
    inputs, outputs = [], []
    for block in tower.transformer.resblocks:
        block.register_forward_pre_hook(lambda m, args: inputs.append(args[0]))
        block.register_forward_hook(lambda m, args, out: outputs.append(out))
    e = tower(x, deep=deep, tokens=True)
    assert [t.shape[1] for t in inputs] == [19, 19, 22]
    torch.testing.assert_close(inputs[0][1, 17:], deep[0])
    torch.testing.assert_close(inputs[1], outputs[0])  # None: they ride on
    torch.testing.assert_close(inputs[2][0, 17:], deep[2])
    assert e.tokens_BMD.shape[1] == 16
    shared = [p.requires_grad_() for p in (torch.randn(1, 24),)]
    tower(x, deep=shared).z_BD.sum().backward()
    assert shared[0].grad.abs().sum() > 0


def test_mix_identity_is_plain_and_reduction_reports_the_patches_kept(x: torch.Tensor) -> None:
    tower = make()
    assert torch.equal(tower(x, mix=lambda t, layer: t).z_BD, tower(x, tokens=True).z_BD)

    def halve(t: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor] | torch.Tensor:
        if layer == 2:
            return t
        n = (t.shape[1] - 1) // 2
        keep = torch.cat([torch.zeros(1, dtype=torch.long), 1 + 2 * torch.arange(n) + layer % 2]).expand(len(t), -1)
        return t.gather(1, keep.unsqueeze(-1).expand(-1, -1, t.shape[2])), keep

    e = tower(x, mix=halve, tokens=True)
    # even patches after block 0: 0 2 4 …; the second, fourth … of those after block 1
    assert e.aux["kept_BM"].tolist() == [[2, 6, 10, 14]] * 2
    assert e.tokens_BMD.shape == (2, 4, 10)
    assert e.grid is None
    with pytest.raises(ValueError, match="class token"):
        tower(x, mix=lambda t, layer: (t[:, 1:], torch.arange(1, t.shape[1]).expand(len(t), -1)))


def test_attend_that_computes_plain_attention_changes_nothing(x: torch.Tensor) -> None:
    tower = make()
    seen = []

    def plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grid: tuple[int, int], layer: int) -> torch.Tensor:
        seen.append((layer, grid))
        return ((q @ k.mT) / q.shape[-1] ** 0.5).softmax(-1) @ v

    torch.testing.assert_close(tower(x, attend=plain).z_BD, tower(x).z_BD, atol=1e-6, rtol=0)
    assert seen == [(0, (4, 4)), (1, (4, 4)), (2, (4, 4))]


def test_rewrite_without_residual_and_feed_forward_is_the_attention_branch_alone(x: torch.Tensor) -> None:
    tower = make()
    value = lambda q, k, v, grid, layer: v
    before = tower(x, taps=("1",)).taps["1"]
    block = tower.transformer.resblocks[2]
    want = block.attn.out_proj(F.linear(block.ln_1(before), block.attn.in_proj_weight[48:], block.attn.in_proj_bias[48:]))
    e = tower(x, taps=("-1",), attend=Rewrite(value, layers=(-1,), residual=False, ffn=False))
    torch.testing.assert_close(e.taps["-1"], want)
    e = tower(x, taps=("-1",), attend=Rewrite(value, layers=(-1,), ffn=False))
    torch.testing.assert_close(e.taps["-1"], want + before)


def test_patch_dropout_only_in_training_and_keeps_the_class_token(x: torch.Tensor) -> None:
    tower = make(patch_dropout=0.75)
    assert torch.equal(tower(x).z_BD, make()(x).z_BD)
    tower.train()
    torch.manual_seed(3)
    e = tower(x, tokens=True)
    kept = e.aux["kept_BM"]
    assert kept.shape == (2, 4)
    assert kept.tolist() != kept.sort(1, descending=True).values.tolist()
    # the patches that stay carry their own positions: the same result as a tower that is given only those tokens
    tower.eval()
    ids = torch.cat([torch.zeros(2, 1, dtype=torch.long), kept + 1], 1)
    tokens = tower.conv1(x).flatten(2).mT
    tokens = torch.cat([tower.class_embedding.expand(2, 1, -1), tokens], 1) + tower.positional_embedding
    state = tower.transformer(tower.ln_pre(tokens.gather(1, ids.unsqueeze(-1).expand(-1, -1, 24))))
    torch.testing.assert_close(F.normalize(tower.ln_post(state.x_BLE[:, 0]) @ tower.proj, dim=-1), e.z_BD, atol=1e-6, rtol=0)


def test_bfloat16_weights_give_float32_embeddings_close_by(x: torch.Tensor) -> None:
    z = make()(x).z_BD
    low = make().to(torch.bfloat16)(x).z_BD
    assert low.dtype == torch.float32
    assert ((low * z).sum(1) > 0.999).all()


@pytest.mark.parametrize(
    ("bad", "match"),
    [({"pool": "max"}, "cannot pool"), ({"class_token": False}, "class token"), ({"patch_dropout": 1.0}, "share"), ({"heads": 5}, "heads")],
)
def test_bad_arguments(bad: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        VisionTransformer(**{**SMALL, **bad})
