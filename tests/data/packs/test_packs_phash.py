from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.fft import dctn

from pairwright.data.packs.phash import distances, perceptual_hash


def picture(seed: int, side: int = 96) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def test_bits_are_the_signs_of_scipys_dct_against_the_median():
    image = picture(0, 32)
    low = dctn(np.asarray(image.convert("L"), np.float64), type=2)[1:9, 1:9].reshape(-1)
    expected = "".join("1" if v > np.median(low) else "0" for v in low)
    assert perceptual_hash(image) == int(expected, 2)


def test_the_same_picture_at_another_size_is_near_and_others_are_far():
    for seed in range(5):
        a, b, c = perceptual_hash(picture(seed)), perceptual_hash(picture(seed).resize((61, 61))), perceptual_hash(picture(seed + 100))
        assert (a ^ b).bit_count() <= 4
        assert (a ^ c).bit_count() > 16


def test_white_shapes_on_nothing_are_told_apart():
    def shape(box):
        image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        image.paste((255, 255, 255, 255), box)
        return perceptual_hash(image)

    assert (shape((0, 0, 20, 60)) ^ shape((30, 40, 64, 50))).bit_count() > 8


def test_distances_count_differing_bits():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2**63, n, dtype=np.uint64) for n in (5, 7))
    assert distances(a, b).tolist() == [[bin(int(x) ^ int(y)).count("1") for y in b] for x in a]
