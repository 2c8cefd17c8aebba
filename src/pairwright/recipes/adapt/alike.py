"""Copies and near copies among pictures: they share a group, so that none is learned from while another is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pairwright.data.images import BadImage, open_image, read_file
from pairwright.data.packs.phash import distances, perceptual_hash
from pairwright.recipes.adapt.clock import Clock

_AT_ONCE = 64
"""Pictures that are read between two looks at the clock."""
NEAR_BITS = 3
NEAR_COLOUR = 8.0
"""Two pictures are near copies if at most so many of the 64 bits of their hashes differ, and their 8 x 8 thumbnails by less than so much
(of 255, on average): simple shapes share hashes by chance, and a red circle is no copy of a blue one."""


@dataclass(frozen=True)
class Look:
    """A picture in short. content: sha256 of its bytes."""

    content: str
    bits: int
    thumb: np.ndarray


def look(source: Any) -> Look:
    """Read one picture. Raises BadImage or FileNotFoundError."""
    data = bytes(source) if isinstance(source, (bytes, bytearray)) else read_file(source)
    image = open_image(data, at_least=64, alpha=True)
    back = Image.new("RGBA", image.size, (255, 255, 255, 255))
    back.alpha_composite(image)
    small = np.asarray(back.convert("RGB").resize((8, 8), Image.Resampling.BOX), dtype=np.int16)
    return Look(hashlib.sha256(data).hexdigest(), perceptual_hash(image), small)


def look_all(
    sources: Sequence[Any], workers: int = 2, progress: Callable[[int, int], None] | None = None, clock: Clock | None = None
) -> tuple[list[Look | None], dict[int, str]]:
    """Looks of all sources, None where one cannot be read, and place -> reason of those; only of the first ones if the time is up."""
    bad: dict[int, str] = {}

    def one(i: int) -> Look | None:
        try:
            return look(sources[i])
        except (BadImage, FileNotFoundError) as e:
            bad[i] = str(e)
            return None

    found: list[Look | None] = []
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(sources), _AT_ONCE):
            if start and clock is not None and clock.over():
                break
            for seen in pool.map(one, range(start, min(start + _AT_ONCE, len(sources)))):
                found.append(seen)
                if progress is not None:
                    progress(len(found), len(sources))
    return found, dict(sorted(bad.items()))


def groups(looks: Sequence[Look], block: int = 256) -> list[int]:
    """A group number for each picture: that of the first picture which it is a copy of, directly or through others."""
    parent = list(range(len(looks)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(i: int, j: int) -> None:
        a, b = sorted((root(i), root(j)))
        parent[b] = a

    first: dict[str, int] = {}
    for i, seen in enumerate(looks):
        join(first.setdefault(seen.content, i), i)
    once = sorted(first.values())
    bits = np.array([looks[i].bits for i in once], np.uint64)
    thumbs = np.stack([looks[i].thumb for i in once]) if once else np.zeros((0, 8, 8, 3), np.int16)
    for start in range(0, len(once), block):
        for r, c in zip(*np.nonzero(distances(bits[start : start + block], bits) <= NEAR_BITS), strict=True):
            if c > start + r and np.abs(thumbs[start + r] - thumbs[c]).mean() < NEAR_COLOUR:
                join(once[start + r], once[c])
    return [root(i) for i in range(len(looks))]
