"""Ten procedural grounds, drawn once per size in a few variants and copied behind the objects."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pairwright.core.numerics import numpy_rng
from pairwright.data.world.vocabulary import BACKGROUNDS

Array = np.ndarray
PLAIN = np.array([0.80, 0.79, 0.76], np.float32)
"""The colour of the canvas where no background is drawn."""
_VARIANTS = 6


def _noise(rng: np.random.Generator, size: int, cells: int) -> Array:
    """Smooth noise in about -1 … 1 with `cells` bumps along a side (bilinear between random values)."""
    grid = rng.uniform(-1, 1, (cells + 1, cells + 1))
    at = (np.arange(size) + 0.5) / size * cells
    i = np.minimum(at.astype(int), cells - 1)
    f = at - i
    f = f * f * (3 - 2 * f)
    rows = grid[i] * (1 - f)[:, None] + grid[i + 1] * f[:, None]
    return rows[:, i] * (1 - f) + rows[:, i + 1] * f


def _ground(kind: str, size: int, variant: int) -> Array:
    """One ground, float (size, size, 3). Muted tones, so that objects of any colour stand out."""
    rng = numpy_rng("backdrop", kind, variant)
    at = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(at, at)
    shift = rng.random(2)
    soft, fine = _noise(rng, size, 4), _noise(rng, size, min(16, size // 2))
    mix = lambda a, b, t: np.array(a) + np.clip(t, 0, 1)[..., None] * (np.array(b) - np.array(a))
    if kind == "sky":
        return mix((0.55, 0.74, 0.90), (0.95, 0.96, 0.97), 1.6 * np.clip(soft, 0, 1) + 0.25 * y)
    if kind == "grass":
        return mix((0.36, 0.55, 0.30), (0.60, 0.74, 0.42), 0.5 + 0.35 * fine + 0.25 * np.sin(90 * x + 4 * soft))
    if kind == "sand":
        return mix((0.82, 0.70, 0.49), (0.93, 0.84, 0.66), 0.5 + 0.4 * np.sin(26 * y + 3 * soft + 6 * shift[0]) + 0.2 * fine)
    if kind == "brick":
        row = np.floor(y * 7 + shift[1])
        gap = ((y * 7 + shift[1]) % 1 < 0.14) | ((x * 3.5 + 0.5 * (row % 2) + shift[0]) % 1 < 0.07)
        return mix((0.66, 0.42, 0.36), (0.86, 0.82, 0.78), gap + 0.12 * fine)
    if kind == "water":
        return mix((0.28, 0.50, 0.62), (0.62, 0.80, 0.86), 0.45 + 0.45 * np.sin(40 * y + 5 * np.sin(7 * x + 6 * shift[0]) + 2 * soft))
    if kind == "wood":
        return mix((0.56, 0.40, 0.27), (0.74, 0.57, 0.40), 0.5 + 0.5 * np.sin(30 * x + 6 * _noise(rng, size, 3) + 6 * shift[0]))
    if kind == "snow":
        return mix((0.84, 0.88, 0.93), (0.97, 0.98, 1.0), 0.6 + 0.5 * soft)
    if kind == "night":
        stars = rng.random((size, size)) < 10 / size**1.5
        return mix((0.13, 0.14, 0.27), (0.90, 0.90, 0.75), 0.9 * stars + 0.12 * (1 + soft) * y)
    if kind == "paper":
        lines = (y * 9 + shift[0]) % 1 < 0.12
        return mix((0.93, 0.91, 0.84), (0.62, 0.72, 0.82), 0.8 * lines)
    leaf = np.maximum(np.sin(19 * x + 8 * y + 5 * soft + 6 * shift[0]), np.sin(17 * y - 9 * x + 5 * fine + 6 * shift[1]))
    return mix((0.24, 0.38, 0.24), (0.52, 0.60, 0.30), 0.5 + 0.5 * leaf)


@lru_cache(maxsize=4)
def _atlas(size: int) -> Array:
    return np.stack([[_ground(kind, size, v) for v in range(_VARIANTS)] for kind in BACKGROUNDS]).astype(np.float32)


def backdrops(kind_N: Array, strength_N: Array, source_N: Array, out_NSS3: Array) -> None:
    """Blend the grounds of the scenes (kind -1: none) into the plain canvas `out_NSS3`, in place."""
    rows = np.flatnonzero((kind_N >= 0) & (strength_N > 0))
    if len(rows):
        ground = _atlas(out_NSS3.shape[1])[kind_N[rows], source_N[rows] % _VARIANTS]
        s = strength_N[rows, None, None, None].astype(np.float32)
        out_NSS3[rows] = PLAIN + s * (ground - PLAIN)
