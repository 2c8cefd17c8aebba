"""Our PIL preprocessing against open_clip's transform (torchvision)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from pairwright.models.preprocess import Preprocess, on_white

SIZES = [(31, 64), (64, 31), (64, 64), (32, 32), (200, 133), (17, 300), (1, 1), (5, 3), (33, 100)]


def picture(w: int, h: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(w * 1000 + h)
    noise = Image.fromarray(rng.integers(0, 256, (h, w, 4), dtype=np.uint8), "RGBA")
    return noise.convert(mode)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [32, (32, 48), (40, 24)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_within_one_level_of_open_clip(interpolation: str, resize_mode: str, size: int | tuple[int, int], mode: str) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    fill = 255 if resize_mode == "longest" and mode != "RGBA" else 0
    theirs = image_transform(
        size, is_train=False, mean=mean, std=std, resize_mode=resize_mode, interpolation=interpolation, fill_color=fill
    )
    ours = Preprocess(size, mean=mean, std=std, resize_mode=resize_mode, interpolation=interpolation, fill_color=fill)
    for w, h in SIZES:
        if (resize_mode == "longest" or isinstance(size, tuple)) and round(min(w, h) / max(w, h) * 24) < 1:
            continue  # open_clip fails: it asks for a side of 0 pixels
        image = picture(w, h, mode)
        a, b = ours(image), theirs(image)
        assert a.shape == b.shape == (3, *ours.hw)
        assert ((a - b) * torch.tensor(std).view(3, 1, 1)).abs().max() <= 1.001 / 255, (w, h)


def test_slender_pictures_keep_at_least_one_pixel() -> None:
    assert Preprocess(32, resize_mode="longest")(picture(1, 500)).shape == (3, 32, 32)


def test_transparency_goes_on_white_only_where_asked() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert on_white(clear).getpixel((0, 0)) == (255, 255, 255)
    assert on_white(half).getpixel((0, 0)) == (255, 127, 127)
    palette = clear.quantize(4)
    assert on_white(palette).getpixel((0, 0)) == (255, 255, 255)
    plain, white = (Preprocess(4, mean=(0, 0, 0), std=(1, 1, 1), on_white=w)(clear) for w in (False, True))
    assert plain.amax(dim=(1, 2)).tolist() != [1, 1, 1]
    assert white.unique().tolist() == [1]


def test_config_round_trip_ignores_what_it_does_not_know() -> None:
    p = Preprocess((32, 48), mean=(0.1, 0.2, 0.3), resize_mode="longest", fill_color=(1, 2, 3), on_white=True)
    assert Preprocess.of({**p.config, "colour": "blue", "interpolation": None}) == p
    assert Preprocess(size=[32, 32]).size == 32
    assert Preprocess(interpolation="random").interpolation == "bicubic"


@pytest.mark.parametrize("bad", [{"interpolation": "nearest"}, {"resize_mode": "crop"}, {"mode": "L"}])
def test_unknown_modes(bad: dict) -> None:
    with pytest.raises(ValueError, match="cannot preprocess"):
        Preprocess(**bad)
