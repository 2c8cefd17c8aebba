"""Losses with a closed form per tile equal their own `rows` on the whole matrix: values and gradients, for any tile size."""

from __future__ import annotations

import pytest
import torch
from discover import mechanisms

from pairwright.core import rows, tiles
from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import unit
from pairwright.core.rows import row_loss

TILED = [p for p in mechanisms("losses") if hasattr(p.values[0], "tile")]
B, D = 23, 5
GROUPS = torch.randint(0, 9, (B,), generator=torch.Generator().manual_seed(5))


def step(cls, monkeypatch, *, block: int, dtype=torch.float64, groups=None, present=None, scale=5.0):
    """Value and gradients of all leaves; `block` 1 makes the engine take tiles, a large one the whole matrix."""
    monkeypatch.setattr(rows, "BLOCK", block)
    g = torch.Generator().manual_seed(0)
    raw = {n: torch.randn(B, D, generator=g, dtype=torch.float64).to(dtype).requires_grad_() for n in cls().needs}
    metric = torch.rand(D, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
    bias = torch.tensor(-1.0, dtype=dtype, requires_grad=True)
    factor = torch.tensor(scale, dtype=dtype).log().requires_grad_()
    outside = factor.exp()  # a graph that all tiles share
    similarity = lambda q, k: outside * (q.z_BD * metric) @ k.z_BD.T + bias
    views = Views({n: Encoded(unit(x)) for n, x in raw.items()}, group_B=groups, present=present)
    total = 3 * row_loss(cls(), views, similarity, symmetric=True)
    return total, dict(zip([*raw, "metric", "bias", "scale"], torch.autograd.grad(total, [*raw.values(), metric, bias, factor])))


@pytest.mark.parametrize("cls", TILED)
@pytest.mark.parametrize("side", [(4, 7), (10, 3), (64, 64)])
@pytest.mark.parametrize("case", ["diagonal", "groups", "missing", "groups, missing"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_tiles_equal_the_whole(cls, side, case, dtype, tolerance, monkeypatch):
    present = {"image": torch.arange(B) % 7 != 2, "text": torch.arange(B) % 5 != 3} if "missing" in case else None
    more = {"groups": GROUPS if "groups" in case else None, "present": present, "dtype": dtype}
    monkeypatch.setitem(tiles.SIDES, "cpu", side)
    whole, expected = step(cls, monkeypatch, block=10**6, **more)
    parts, found = step(cls, monkeypatch, block=1, **more)
    torch.testing.assert_close(parts, whole, rtol=tolerance, atol=tolerance)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("cls", TILED)
@pytest.mark.parametrize("scale", [100.0, 3000.0])
def test_logits_of_any_range(cls, scale, monkeypatch):
    """Rows whose largest logits lie hundreds apart: one shift for all of them would lose the small ones."""
    monkeypatch.setitem(tiles.SIDES, "cpu", (8, 8))
    _, expected = step(cls, monkeypatch, block=10**6, scale=scale)
    total, found = step(cls, monkeypatch, block=1, scale=scale, dtype=torch.float32)
    assert torch.isfinite(total)
    for name, g in found.items():
        torch.testing.assert_close(g.double(), expected[name], rtol=1e-3, atol=1e-3 * max(1.0, float(expected[name].abs().max())), msg=name)


@pytest.mark.parametrize("cls", TILED)
def test_no_graph_where_no_gradient_is_wanted(cls, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 1)
    views = Views({n: Encoded(unit(torch.randn(B, D))) for n in cls().needs})
    with torch.no_grad():
        assert not row_loss(cls(), views, lambda q, k: q.z_BD @ k.z_BD.T, symmetric=True).requires_grad


def test_there_are_tiled_losses():
    assert {p.id for p in TILED} >= {"losses/contrast/info_nce", "losses/contrast/sigmoid"}
