"""FasterNet without timm: timm's names and numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from pairwright.models.load.spec import tower
from pairwright.models.towers.fasternet import SIZES, FasterNet, covers
from pairwright.models.towers.timm_image import TimmImage


def pair(name: str = "fasternet_t0", **more: object) -> tuple[FasterNet, TimmImage]:
    """The two towers with the same weights, in which no parameter is zero or one and no statistic is at its start."""
    torch.manual_seed(0)
    ours, theirs = FasterNet(name, 24, size=64, **more), TimmImage(name, 24, size=64, **more)
    for key, t in theirs.state_dict().items():
        if t.is_floating_point():
            t.add_(torch.rand_like(t) * (0.5 if "running" in key else 0.05))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("training", [False, True])
def test_embeddings_tokens_and_stages_are_timms(training: bool) -> None:
    ours, theirs = (t.train(training) for t in pair(proj_bias=True))
    x = torch.randn(3, 3, 64, 64)
    for taps in ((), ("1", "3")):
        a, b = ours(x, taps=taps, tokens=not training), theirs(x, taps=taps, tokens=not training)
        torch.testing.assert_close(a.z_BD, b.z_BD, atol=1e-6, rtol=0)
        torch.testing.assert_close(a.norm_B, b.norm_B, atol=0, rtol=1e-5)
        assert a.taps.keys() == b.taps.keys() == set(taps)
        for key in taps:
            torch.testing.assert_close(a.taps[key], b.taps[key], atol=1e-5, rtol=1e-4)
    if not training:
        assert a.grid == b.grid == (2, 2)
        torch.testing.assert_close(F.normalize(a.tokens_BMD, dim=-1), F.normalize(b.tokens_BMD, dim=-1), atol=1e-6, rtol=0)
    for (key, t), u in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):  # running statistics, after training
        torch.testing.assert_close(t, u, atol=1e-5, rtol=1e-4, msg=key)


def test_gradients_are_timms() -> None:
    ours, theirs = (t.train().double() for t in pair())  # deep in the network gradients are too small for float32
    x, goal = torch.randn(4, 3, 64, 64), torch.randn(4, 24)
    for t in (ours, theirs):
        (t(x).z_BD * goal).sum().backward()
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (p.grad - q.grad).norm() <= 1e-5 * q.grad.norm(), key


@pytest.mark.parametrize("name", SIZES)
def test_every_size_has_timms_names_shapes_order_and_drop_path(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = FasterNet(name, 24), TimmImage(name, 24)
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [(k, v.shape) for k, v in theirs.state_dict().items()]
    blocks = [(b, c) for s, t in zip(ours.trunk.stages, theirs.trunk.stages) for b, c in zip(s.blocks, t.blocks, strict=True)]
    assert [b.drop_path for b, _ in blocks] == pytest.approx([getattr(c.drop_path, "drop_prob", 0.0) for _, c in blocks])
    assert all(type(b.mlp[2]) is type(c.mlp[2]) for b, c in blocks)
    assert (ours.spec, ours.size, ours.width, ours.points) == (theirs.spec, theirs.size, theirs.width, theirs.points)


def test_a_dropped_path_is_the_identity_and_the_others_are_scaled() -> None:
    torch.manual_seed(0)
    block = FasterNet("fasternet_t0", 8, drop_path=0.5).trunk.stages[3].blocks[1].train()
    for p in block.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(64, 320, 2, 2)
    got, block.drop_path = block(x) - x, 0.0
    whole = block(x) - x
    kept = got.flatten(1).abs().sum(1) > 0
    assert 16 < kept.sum() < 48
    torch.testing.assert_close(got[kept], 2 * whole[kept], rtol=1e-4, atol=1e-3)


def test_what_is_covered() -> None:
    spec = {"kind": "timm", "name": "fasternet_t0", "dim": 8, "size": 32}
    assert type(tower(spec)) is type(tower(spec, empty=True)) is type(tower({**spec, "name": "fasternet_t0.in1k"})) is FasterNet
    assert type(tower({**spec, "proj": "mlp"})) is type(tower({**spec, "proj": "none"})) is TimmImage
    assert not covers({**spec, "name": "test_convnext"})
    with pytest.raises(ValueError, match=r"fasternet_t0.*TimmImage"):
        FasterNet("test_convnext", 8)
    with pytest.raises(ValueError, match="unknown taps"):
        tower(spec)(torch.zeros(1, 3, 32, 32), taps=("4",))
    with pytest.raises(ValueError, match="lacks deep"):
        tower(spec)(torch.zeros(1, 3, 32, 32), deep=[torch.zeros(1, 2)])


def test_the_shipped_model_loads_without_the_libraries_it_does_not_need() -> None:
    code = (
        "import sys, pairwright; pairwright.load('sprout'); "
        "print([m for m in ('timm', 'torchvision', 'open_clip', 'transformers', 'torch._dynamo') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
