"""LiT: the locked side keeps its bits and its mode, and stored embeddings of it train the other side to the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pairwright.core.numerics import generator
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.models.dual import DualEncoder
from pairwright.models.tiny import tiny
from pairwright.models.towers.wrapped import Wrapped
from pairwright.train.loop import run
from pairwright.train.objective import Sum
from pairwright.train.optim import OptimConfig
from pairwright.train.stage import Batch, Stage
from pairwright.tune.weights.lock_tower import LockTower

X = torch.randn(8, 12, generator=generator("locked"))
IDS = torch.randint(3, 60, (8, 8), generator=generator("locked ids")).index_fill(1, torch.tensor([7]), 63)


def twin() -> DualEncoder:
    torch.manual_seed(0)
    text = tiny(1, width=32, dim=16, vocab=64, context=8).towers["text"]
    image = Wrapped(nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Dropout(0.5)), 16)
    return DualEncoder({"image": image, "text": text}).eval()


class Pairs:
    batch_size = 8

    def __init__(self, stored: torch.Tensor | None = None) -> None:
        self.stored = stored

    def spec(self):
        return {}

    def batches(self, start):
        while True:
            if self.stored is None:
                yield Batch({"image": X, "text": IDS})
            else:
                yield Batch({"text": IDS}, {"image": self.stored})


def trained(tmp_path, source) -> DualEncoder:
    stage = Stage("lit", Sum({"clip": InfoNCE()}), source, 5, OptimConfig(lr=1e-2), modifiers=(LockTower("image"),))
    return run(twin(), [stage], tmp_path, precise="fp32", show=False)


def test_the_locked_side_keeps_its_bits_and_may_be_stored(tmp_path):
    with torch.no_grad():
        z = twin().image(X).z_BD
    live, cached = trained(tmp_path / "live", Pairs()), trained(tmp_path / "cached", Pairs(z))
    before, after, other = twin().state_dict(), live.state_dict(), cached.state_dict()
    for name, value in before.items():
        assert torch.equal(after[name], value) == name.startswith("towers.image."), name
        torch.testing.assert_close(other[name], after[name], rtol=0, atol=1e-4)


def test_locking_nothing_or_everything_is_an_error():
    with pytest.raises(ValueError, match="no 'sound' tower"):
        LockTower("sound").attach(twin())
    with pytest.raises(ValueError, match="nothing is left"):
        LockTower("text").attach(DualEncoder({"text": twin().towers["text"]}))
