from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pairwright.data.views import ICONS, IDENTITY, Augment, center, seeds, view

STRONG = Augment((0.4, 1.5), 1.4, rotate=30, shear=0.2, hue=0.3, grey=0.3, plain=0.4, gradient=0.4, recolour=0.8)


def images(n=24, channels=4, side=20):
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, channels, side, side), np.uint8))
    if channels == 4:
        x[: n // 2, :3] = 10  # half of them are dark one-colour icons
        x[: n // 2, 3] = (x[: n // 2, 3] > 128) * 255
    return x


@pytest.mark.parametrize("channels", [3, 4])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 23), min_size=1, max_size=40), st.integers(0, 9))
def test_a_view_depends_on_image_and_seed_only(channels, rows, epoch):
    x, seed = images(channels=channels), seeds(torch.arange(24), epoch)
    whole = view(x, seed, STRONG, size=16)
    assert torch.equal(view(x[rows], seed[rows], STRONG, size=16), whole[rows])


def test_epochs_and_copies_differ_and_repeat():
    ids = torch.arange(1000)
    every = [seeds(ids, epoch, copy) for epoch in range(3) for copy in range(2)]
    assert torch.cat(every).unique().numel() == 6000
    assert torch.equal(seeds(ids, 2, 1), every[5])
    x = images(channels=3)
    assert not torch.equal(view(x, seeds(torch.arange(24), 0)), view(x, seeds(torch.arange(24), 1)))


def test_identity_and_centre():
    rgb, icon = images(channels=3), images()
    seed = seeds(torch.arange(24), 0)
    assert torch.allclose(view(rgb, seed, IDENTITY), rgb / 255, atol=1e-6)
    alpha = icon[:, 3:].double() / 255
    over_white = icon[:, :3].double() / 255 * alpha + 1 - alpha
    assert torch.allclose(view(icon, seed, IDENTITY).double(), over_white, atol=1e-6)
    assert torch.allclose(center(icon, 20).double(), over_white, atol=1e-6)


def test_centre_resizes_like_pillow():
    smooth = torch.from_numpy(np.asarray(Image.effect_noise((48, 32), 60).resize((96, 64), Image.Resampling.BICUBIC)).copy())
    got = center(smooth.expand(1, 3, 64, 96), 32)
    expected = Image.fromarray(smooth.numpy()).resize((48, 32), Image.Resampling.BICUBIC).crop((8, 0, 40, 32))
    assert (got[0, 0] - torch.from_numpy(np.asarray(expected).copy()) / 255).abs().max() < 1.5 / 255


def only(**change):
    base = {f: getattr(IDENTITY, f) for f in IDENTITY.__dataclass_fields__}
    return Augment(**{**base, **change})


def test_flip_is_a_mirror():
    x = images(channels=3)
    assert torch.allclose(view(x, seeds(torch.arange(24), 0), only(flip=1.0)), x.flip(3) / 255, atol=1e-5)


def test_rotation_matches_pillow():
    """A seed that draws an angle: recover it by search, then compare with Pillow's rotation of the same picture."""
    base = Image.effect_noise((16, 16), 80).resize((64, 64), Image.Resampling.BICUBIC)
    x = torch.from_numpy(np.asarray(base).copy()).expand(1, 3, 64, 64)
    got = view(x, torch.tensor([5]), only(rotate=40.0))[0, 0]
    inner = slice(16, 48)
    errors = {}
    for tenth in range(-400, 401, 5):
        turned = np.asarray(base.rotate(tenth / 10, Image.Resampling.BILINEAR), np.float32) / 255
        errors[tenth / 10] = float((got - torch.from_numpy(turned))[inner, inner].abs().mean())
    best = min(errors, key=errors.get)
    assert errors[best] < 0.01
    assert abs(best) > 1
    assert min(e for a, e in errors.items() if abs(a - best) > 5) > 5 * errors[best]


def test_crops_show_what_was_asked_for():
    """A horizontal ramp: the slope of the view is the width of the crop, over the range that `area` and `aspect` allow."""
    side = 32
    ramp = ((torch.arange(side) + 0.5) / side).expand(400, 3, side, side).contiguous()
    got = view(ramp, seeds(torch.arange(400), 0), only(area=(0.25, 0.49)))
    width = (got[:, 0, 16, 24] - got[:, 0, 16, 8]) / (16 / side)
    assert width.min() >= 0.5 - 1e-3
    assert width.max() <= 0.7 + 1e-3
    assert torch.quantile(width, torch.tensor([0.1, 0.9])).tolist() == pytest.approx([math.sqrt(0.274), math.sqrt(0.466)], abs=0.01)


def test_hue_turns_colours_and_keeps_greys():
    x = torch.tensor([1.0, 0, 0])[None, :, None, None].expand(50, 3, 8, 8) * 0.6
    turned = view(x, seeds(torch.arange(50), 0), only(hue=0.5))
    assert turned[:, 0].std() > 0.05
    grey = torch.full((50, 3, 8, 8), 0.4)
    assert torch.allclose(view(grey, seeds(torch.arange(50), 0), only(hue=0.5, saturation=0.9)), grey, atol=1e-5)


def test_grey_is_luminance():
    x = images(channels=3)
    luma = (x / 255 * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    assert torch.allclose(view(x, seeds(torch.arange(24), 0), only(grey=1.0)), luma[:, None].expand(-1, 3, -1, -1), atol=1e-5)


def icons(n, ink=10, side=12):
    x = torch.zeros(n, 4, side, side, dtype=torch.uint8)
    x[:, :3], x[:, 3, 3:9, 3:9] = ink, 255
    return x


def test_dark_ink_is_recoloured_and_stays_visible():
    n = 600
    got = view(icons(n), seeds(torch.arange(n), 0), only(plain=0.5, gradient=0.5, recolour=1.0, apart=0.35))
    ink, paper = got[:, :, 5, 5], got[:, :, 0, 0]
    assert ink.std(0).min() > 0.2  # a random colour each
    luma = torch.tensor([0.299, 0.587, 0.114])
    distance = ((ink - paper) * luma).sum(1).abs()
    assert distance.min() > 0.34


def test_ink_of_colour_or_on_request_is_kept():
    red = icons(100)
    red[:, 0] = 220
    seed = seeds(torch.arange(100), 0)
    assert torch.allclose(view(red, seed, only(recolour=1.0))[:, :, 5, 5], torch.tensor([220, 10, 10]) / 255, atol=1e-5)
    keep = torch.arange(100) % 2 == 0
    inks = view(icons(100), seed, only(recolour=1.0), keep_ink_B=keep)[:, :, 5, 5]
    assert torch.allclose(inks[keep], torch.full((50, 3), 10 / 255), atol=1e-5)
    assert (inks[~keep] - 10 / 255).abs().amax(1).min() > 0.01


def test_backgrounds_come_as_often_as_asked():
    x = torch.zeros(2000, 4, 8, 8, dtype=torch.uint8)  # nothing but background
    got = view(x, seeds(torch.arange(2000), 0), only(plain=0.3, gradient=0.2))
    white = (got > 1 - 1e-4).flatten(1).all(1)
    flat = got.flatten(2).std(2).amax(1) < 1e-4
    assert white.float().mean() == pytest.approx(0.5, abs=0.04)
    assert (flat & ~white).float().mean() == pytest.approx(0.3, abs=0.04)


def test_icons_fade_without_a_dark_rim():
    """White ink over white paper must stay white everywhere: the black under transparent pixels never bleeds in."""
    x = icons(64, ink=255)
    assert view(x, seeds(torch.arange(64), 0), only(rotate=45.0, area=(0.5, 2.0), aspect=1.3)).min() > 1 - 1e-5


def test_result_is_in_range_and_of_the_asked_size():
    for augment in (Augment(), ICONS, STRONG):
        got = view(images(), seeds(torch.arange(24), 0), augment, size=9)
        assert got.shape == (24, 3, 9, 9)
        assert got.dtype == torch.float32
        assert got.min() >= 0
        assert got.max() <= 1


def test_wrong_use_is_told():
    with pytest.raises(ValueError, match="one seed per image"):
        view(images(), torch.arange(3))
    with pytest.raises(ValueError, match="expected images"):
        view(torch.zeros(2, 1, 8, 8), torch.arange(2))
    with pytest.raises(ValueError, match="must not exceed 1"):
        Augment(plain=0.8, gradient=0.8)
    with pytest.raises(ValueError, match="area"):
        Augment(area=(0.0, 1.0))
