"""A perceptual hash: 64 bits that near-identical pictures share, to find one picture under two names."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

_SIDE, _KEEP = 32, 8


@cache
def _cosines() -> np.ndarray:
    k, x = np.arange(_KEEP + 1)[:, None], np.arange(_SIDE)[None, :]
    return np.cos(math.pi * (2 * x + 1) * k / (2 * _SIDE))


def perceptual_hash(image: Any) -> int:
    """The DCT hash of a PIL image, composed on white (on black where it would vanish): grey, 32 x 32, the 64 lowest frequencies but the
    constant ones, one bit each: above their median or not."""
    from PIL import Image

    for ground in (255, 0):
        back = Image.new("RGBA", image.size, (ground, ground, ground, 255))
        back.alpha_composite(image.convert("RGBA"))
        grey = np.asarray(back.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float64)
        if np.ptp(grey) > 8:
            break
    c = _cosines()
    low = (c @ grey @ c.T)[1:, 1:].reshape(-1)
    bits = low > np.median(low)
    return int("".join("1" if b else "0" for b in bits), 2)


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamming distances between two arrays of 64-bit hashes: (N,), (M,) uint64 -> (N, M) uint8."""
    return np.bitwise_count(a[:, None] ^ b[None, :])
