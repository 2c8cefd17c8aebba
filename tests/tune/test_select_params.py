"""Norm and bias tuning against lists made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pairwright.models.tiny import tiny
from pairwright.models.towers.wrapped import Wrapped
from pairwright.tune.weights.select_params import SelectParams


def twin():
    return tiny(1, image="vit", size=16, width=32, dim=16, layers=1, patch=8, vocab=64, context=8)


def test_norms_are_gains_and_biases_of_the_norm_layers():
    tuner = SelectParams("norm", ("image",))
    tuner.attach(twin())
    layers = ("ln_pre", "transformer.resblocks.0.ln_1", "transformer.resblocks.0.ln_2", "ln_post")
    assert set(tuner.moving_) == {f"towers.image.{layer}.{p}" for layer in layers for p in ("weight", "bias")}
    assert tuner.count == 4 * 2 * 32


def test_biases_are_all_of_them():
    tuner = SelectParams("bias", ("text",))
    tuner.attach(twin())
    parts = ("ln_1.bias", "ln_2.bias", "attn.in_proj_bias", "attn.out_proj.bias", "mlp.c_fc.bias", "mlp.c_proj.bias")
    assert set(tuner.moving_) == {f"towers.text.transformer.resblocks.0.{p}" for p in parts} | {"towers.text.ln_final.bias"}
    assert tuner.count == 32 * (1 + 1 + 3 + 1 + 4 + 1) + 32


def test_batch_norm_in_a_foreign_tower_keeps_its_statistics():
    model = twin()
    model.towers["image"] = Wrapped(nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 16)), 16)
    tuner = SelectParams("norm", ("image",))
    tuner.attach(model)
    assert set(tuner.moving_) == {"towers.image.module.0.weight", "towers.image.module.0.bias"}
    model.train()
    model.image(5 + torch.randn(9, 8)).z_BD.sum().backward()
    norm = model.towers["image"].module[0]
    assert torch.equal(norm.running_mean, torch.zeros(8))
    assert bool((norm.weight.grad != 0).any())
    tuner.detach(model)
    model.train()
    model.image(5 + torch.randn(9, 8))
    assert bool((norm.running_mean > 0).all())  # released again


def test_what_is_not_there_is_an_error():
    model = twin()
    model.towers["image"] = Wrapped(nn.Linear(8, 16, bias=False), 16)
    for kind in ("norm", "bias"):
        with pytest.raises(ValueError, match=f"no parameters of the kind '{kind}'"):
            SelectParams(kind).attach(model)
    with pytest.raises(ValueError, match="norm, bias"):
        SelectParams("gain")
