"""CLIP-SVD against numpy's decomposition, block by block."""

from __future__ import annotations

import numpy as np
import torch

from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.tune.weights.singular_values import SingularValues

IN_PROJ = "towers.image.transformer.resblocks.0.attn.in_proj_weight"


def twin():
    return tiny(1, image="vit", size=16, width=32, dim=16, layers=1, patch=8, vocab=64, context=8)


def test_only_the_singular_values_move():
    model, tuner = twin(), SingularValues(towers=("image",), parts=("q", "v", "o", "fc"))
    before = model.state_dict()[IN_PROJ].numpy().astype(np.float64)
    tuner.attach(model)
    assert tuner.count == 2 * 32 + 32 + 32
    name = next(n for n in tuner.moving_ if "in_proj" in n)
    delta = torch.randn(2, 32, generator=generator("delta")) * 0.3
    tuner.load_state_dict({n: delta if n == name else torch.zeros_like(p) for n, p in tuner.moving_.items()})
    tuner.fold(model)
    after = model.state_dict()[IN_PROJ].numpy()
    for block, start in enumerate((0, 64)):
        u, s, vt = np.linalg.svd(before[start : start + 32])
        np.testing.assert_allclose(after[start : start + 32], u @ np.diag(s + delta[block].numpy()) @ vt, atol=2e-5)
    assert np.array_equal(after[32:64], before[32:64].astype(np.float32))


def test_stretching_by_the_values_themselves_doubles_the_matrix():
    model, tuner = twin(), SingularValues(towers=("text",), parts=("proj",))  # 32 x 128
    name = "towers.text.transformer.resblocks.0.mlp.c_proj.weight"
    before = model.state_dict()[name].clone()
    tuner.attach(model)
    (moving,) = tuner.moving_
    assert tuner.moving_[moving].shape == (1, 32)
    tuner.load_state_dict({moving: torch.linalg.svdvals(before)[None]})
    tuner.fold(model)
    torch.testing.assert_close(model.state_dict()[name], 2 * before, rtol=1e-4, atol=1e-5)


def test_decompositions_are_no_part_of_the_checkpoint():
    model, tuner = twin(), SingularValues()
    size = sum(v.numel() for v in model.state_dict().values())
    tuner.attach(model)
    assert sum(v.numel() for v in model.state_dict().values()) == size + tuner.count
