"""Laws of every token reduction: keeping all is the identity, sizes add up, rows do not see each other, the stated cost is true."""

from __future__ import annotations

import pytest
import torch
from discover import mechanisms
from torch.utils.flop_counter import FlopCounterMode

from pairwright.compress.cost import cost
from pairwright.compress.tokens.pitome import PiToMe
from pairwright.compress.tokens.random_drop import RandomDrop
from pairwright.compress.tokens.tome import ToMe
from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.models.towers.vit import VisionTransformer

KINDS = mechanisms("compress/tokens")
SOME = {ToMe: ToMe(4), PiToMe: PiToMe(share=0.8), RandomDrop: RandomDrop(0.4)}
NONE = {ToMe: (ToMe(0), ToMe(None, 1.0)), PiToMe: (PiToMe(share=1.0), PiToMe(0, None)), RandomDrop: (RandomDrop(0.0),)}
X = torch.randn(3, 3, 32, 32, generator=generator("reduced"))
every_reduction = pytest.mark.parametrize("cls", KINDS)


def tower(pool: str = "tok", **more) -> VisionTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return VisionTransformer(size=32, patch=4, width=32, layers=3, heads=4, dim=16, pool=pool, class_token=pool == "tok", **more).eval()


@every_reduction
@pytest.mark.parametrize("pool", ["tok", "avg", "map"])
def test_keeping_all_is_the_identity_to_the_bit(cls, pool):
    vit = tower(pool)
    plain = vit(X, tokens=True)
    for reduce in NONE[cls]:
        same = vit(X, tokens=True, reduce=reduce)
        assert torch.equal(same.z_BD, plain.z_BD)
        assert torch.equal(same.tokens_BMD, plain.tokens_BMD)
        assert "kept_BM" not in same.aux


@every_reduction
@pytest.mark.parametrize("pool", ["tok", "avg", "map"])
def test_what_is_left_is_what_was_promised(cls, pool):
    reduce, M = SOME[cls], 64
    for layer in range(3):
        M = reduce.left(M, layer, 3)
    out = tower(pool)(X, tokens=True, reduce=reduce)
    assert out.aux["kept_BM"].shape == (3, M)
    assert out.tokens_BMD.shape[1] == M
    assert M < 64
    assert (out.aux["kept_BM"].diff(dim=1) > 0).all()
    assert torch.isfinite(out.z_BD).all()
    if cls is not RandomDrop:
        torch.testing.assert_close(out.aux["size_BM"].sum(1), torch.full((3,), 64.0))
        assert (out.aux["size_BM"] >= 1).all()


@every_reduction
def test_rows_do_not_see_each_other(cls):
    vit, reduce = tower(), SOME[cls]
    whole = vit(X, reduce=reduce).z_BD
    torch.testing.assert_close(torch.cat([vit(x[None], reduce=reduce).z_BD for x in X]), whole, atol=1e-5, rtol=1e-4)


@every_reduction
@pytest.mark.parametrize("pool", ["tok", "avg", "map"])
def test_stated_cost_is_the_measured_one(cls, pool):
    vit, reduce = tower(pool, qkv_bias=False), SOME[cls]
    for r in (None, reduce):
        with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            vit(X[:1], reduce=r)
        matching = 0.0 if r is None else 2.0 * 3 * 65 * 65 * 8  # comparing tokens is the reduction's own, small, cost
        assert abs(counter.get_total_flops() - cost(vit, r).flops) <= matching + 0.01 * cost(vit, r).flops
    assert cost(vit, reduce).flops < cost(vit).flops
    assert cost(vit).bytes == sum(p.numel() * 4 for p in vit.parameters())


@every_reduction
def test_a_model_keeps_it_for_every_call_and_says_so(cls):
    model = tiny(0, image="vit", size=32)
    x, before, plain = X[:2], model.fingerprint, model.image(X[:2]).z_BD
    reduce = NONE[cls][0]
    model.towers["image"].reduce = SOME[cls]
    assert model.fingerprint != before
    assert not torch.equal(model.image(x).z_BD, plain)
    torch.testing.assert_close(model.image(x, reduce=reduce).z_BD, plain)
    model.towers["image"].reduce = None
    assert model.fingerprint == before


@every_reduction
def test_prompts_taps_and_bf16_go_with_it(cls):
    vit, reduce = tower(), SOME[cls]
    deep = [torch.randn(2, 32, generator=generator("deep", i)) for i in range(3)]
    out = vit(X, reduce=reduce, deep=deep, taps=("0", "2"))
    assert torch.isfinite(out.z_BD).all()
    assert out.taps["2"].shape[1] < out.taps["0"].shape[1] or cls is RandomDrop
    low = vit.to(torch.bfloat16)(X.bfloat16(), reduce=reduce).z_BD
    assert torch.isfinite(low).all()


@every_reduction
def test_gradients_reach_every_patch_that_is_left(cls):
    vit = tower("avg")
    x = X.clone().requires_grad_()
    vit(x, reduce=SOME[cls]).z_BD.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad != 0).any()
