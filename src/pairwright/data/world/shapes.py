"""Outlines of the shapes as polygons, and the tables that the renderer looks up: signed distance per shape, pattern per texture.

An outline is one or more closed rings inside the unit disc, y down, filled by the even-odd rule.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pairwright.data.world.vocabulary import SHAPES, TEXTURES

Array = np.ndarray
_EXACT = 96
_FAR = 1e6
EXTENT = 1.3  # the tables cover [-EXTENT, EXTENT] squared, in units of the object's radius


def _disc(radius: float = 1.0, x: float = 0.0, y: float = 0.0, points: int = 32) -> Array:
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + radius * np.cos(t), y + radius * np.sin(t)], 1)


def _regular(corners: int) -> Array:
    t = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    return np.stack([np.cos(t), np.sin(t)], 1)


def _wavy(petals: int, inner: float, power: float) -> Array:
    t = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    r = inner + (1 - inner) * np.clip(0.5 + power * np.cos(petals * t), 0, 1)
    return np.stack([r * np.cos(t), r * np.sin(t)], 1)


def _heart() -> Array:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], 1) / 17.5


def _moon() -> Array:
    outer = np.linspace(0.9, 2 * np.pi - 0.9, 40)
    corner = np.array([np.cos(0.9), np.sin(0.9)])
    centre, radius = 0.62, np.hypot(corner[0] - 0.62, corner[1])
    start = np.arctan2(-corner[1], corner[0] - centre)
    inner = np.linspace(start, -2 * np.pi - start, 40)[1:-1]
    return np.concatenate(
        [np.stack([np.cos(outer), np.sin(outer)], 1), np.stack([centre + radius * np.cos(inner), radius * np.sin(inner)], 1)]
    )


def _drop() -> Array:
    t = np.linspace(-0.18 * np.pi, 1.18 * np.pi, 40)
    return np.concatenate([np.stack([0.62 * np.cos(t), 0.34 + 0.62 * np.sin(t)], 1), [[0.0, -1.0]]])


def _arch() -> Array:
    t = np.linspace(np.pi, 2 * np.pi, 24)
    half = np.stack([np.cos(t), np.sin(t)], 1)
    ends = [[0.78, 0.6], [0.36, 0.6]]
    return np.concatenate([[[-0.78, 0.6]], 0.78 * half - [0, 0.1], ends, 0.36 * half[::-1] - [0, 0.1], [[-0.36, 0.6]]])


def _fish() -> Array:
    t = np.linspace(0.55, 2 * np.pi - 0.55, 40)
    body = np.stack([-0.28 + 0.66 * np.cos(t), 0.52 * np.sin(t)], 1)
    return np.concatenate([body, [[0.92, -0.48], [0.7, 0.0], [0.92, 0.48]]])


def _bone() -> list[Array]:
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    grid = np.stack([np.cos(t), np.sin(t)], 1)
    knobs = np.array([[0.62, -0.26], [0.62, 0.26], [-0.62, 0.26], [-0.62, -0.26]])
    reach = [max(_ray_disc(g, k, 0.3) for k in knobs) for g in grid]
    bar = np.minimum(0.62 / np.maximum(abs(grid[:, 0]), 1e-9), 0.2 / np.maximum(abs(grid[:, 1]), 1e-9))
    return [grid * np.maximum(reach, bar)[:, None]]


def _ray_disc(direction: Array, centre: Array, radius: float) -> float:
    """Where a ray from the origin leaves a disc (0 when it misses)."""
    along = float(direction @ centre)
    rest = radius**2 - float(centre @ centre) + along**2
    return along + np.sqrt(rest) if rest > 0 and along > 0 else 0.0


_POLYGONS: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.72, -0.72), (0.72, -0.72), (0.72, 0.72), (-0.72, 0.72)],
    "bar": [(-0.94, -0.3), (0.94, -0.3), (0.94, 0.3), (-0.94, 0.3)],
    "arrow": [(-0.95, -0.26), (0.1, -0.26), (0.1, -0.72), (0.97, 0), (0.1, 0.72), (0.1, 0.26), (-0.95, 0.26)],
    "bolt": [(0.2, -0.97), (-0.55, 0.12), (-0.1, 0.12), (-0.28, 0.95), (0.55, -0.25), (0.08, -0.25), (0.5, -0.85)],
    "house": [(0, -0.98), (0.92, -0.12), (0.66, -0.12), (0.66, 0.74), (-0.66, 0.74), (-0.66, -0.12), (-0.92, -0.12)],
    "hourglass": [(-0.7, -0.7), (0.7, -0.7), (0.14, 0), (0.7, 0.7), (-0.7, 0.7), (-0.14, 0)],
    "tree": [
        (0, -0.99), (0.5, -0.35), (0.26, -0.35), (0.76, 0.4), (0.15, 0.4), (0.15, 0.9),
        (-0.15, 0.9), (-0.15, 0.4), (-0.76, 0.4), (-0.26, -0.35), (-0.5, -0.35),
    ],
    "kite": [(0, -0.98), (0.5, -0.3), (0, 0.98), (-0.5, -0.3)],
    "crown": [(-0.9, -0.4), (-0.45, 0.05), (0, -0.75), (0.45, 0.05), (0.9, -0.4), (0.74, 0.62), (-0.74, 0.62)],
    "anvil": [
        (-0.95, -0.26), (-0.4, -0.5), (0.8, -0.5), (0.8, -0.1), (0.25, 0.1), (0.25, 0.3),
        (0.6, 0.62), (-0.6, 0.62), (-0.25, 0.3), (-0.25, 0.05), (-0.6, -0.05),
    ],
}  # fmt: skip


def outline(shape: str) -> list[Array]:
    """Closed rings (points, 2) of a shape, inside the unit disc."""
    if shape in _POLYGONS:
        return [np.array(_POLYGONS[shape])]
    star = _regular(10) * np.where(np.arange(10) % 2, 0.42, 1.0)[:, None]
    arm = np.array([(-0.3, -0.95), (0.3, -0.95), (0.3, -0.3)])
    turn = np.array([[0, 1], [-1, 0]])
    made = {
        "circle": lambda: [_disc(0.85)],
        "triangle": lambda: [_regular(3)],
        "star": lambda: [star],
        "heart": lambda: [_heart()],
        "cross": lambda: [np.concatenate([arm @ np.linalg.matrix_power(turn, k) for k in range(4)])],
        "ring": lambda: [_disc(0.92), _disc(0.48)],
        "moon": lambda: [_moon()],
        "drop": lambda: [_drop()],
        "fish": lambda: [_fish()],
        "flower": lambda: [_wavy(5, 0.35, 0.5)],
        "gear": lambda: [_wavy(9, 0.72, 3.0), _disc(0.28)],
        "arch": lambda: [_arch()],
        "bone": _bone,
        "cup": lambda: [np.array([(-0.75, -0.6), (0.4, -0.6), (0.32, 0.68), (-0.67, 0.68)]), *_handle()],
    }
    return made[shape]()


def _handle() -> list[Array]:
    """The handle of the cup: a thick half ring that touches the body's right side."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 24)
    half = np.stack([np.cos(t), np.sin(t)], 1)
    return [np.concatenate([half * [0.52, 0.46], (half * [0.28, 0.24])[::-1]]) + np.array([0.4, -0.04])]


def _distance(rings: list[Array], xy_P2: Array) -> Array:
    """Signed distance (negative inside) of points to the even-odd filled rings."""
    best = np.full(len(xy_P2), np.inf)
    inside = np.zeros(len(xy_P2), dtype=bool)
    for ring in rings:
        for a, b in zip(ring, np.roll(ring, -1, axis=0)):
            edge, rel = b - a, xy_P2 - a
            t = np.clip(rel @ edge / max(edge @ edge, 1e-12), 0, 1)
            best = np.minimum(best, ((rel - t[:, None] * edge) ** 2).sum(1))
            crosses = (a[1] > xy_P2[:, 1]) != (b[1] > xy_P2[:, 1])
            if edge[1]:
                inside ^= crosses & (xy_P2[:, 0] < a[0] + edge[0] * (xy_P2[:, 1] - a[1]) / edge[1])
    return np.where(inside, -1, 1) * np.sqrt(best)


def _grid(cells: int) -> tuple[Array, Array]:
    at = (np.arange(cells) + 0.5) * (2 * EXTENT / cells) - EXTENT
    return np.meshgrid(at, at)


@lru_cache(maxsize=4)
def distance_table(shapes: int, cells: int) -> Array:
    """float32 (shapes, cells, cells): signed distance in units of the radius, row = y, column = x.

    Exact at 96 x 96 places, linear between: a distance is so smooth that only corners are rounded, by a hundredth of the radius.
    """
    x, y = _grid(_EXACT)
    xy = np.stack([x.ravel(), y.ravel()], 1)
    exact = np.stack([_distance(outline(s), xy).reshape(_EXACT, _EXACT) for s in SHAPES[:shapes]])
    at = np.clip((np.arange(cells) + 0.5) * _EXACT / cells - 0.5, 0, _EXACT - 1)
    low = np.minimum(at.astype(int), _EXACT - 2)
    blend = np.zeros((cells, _EXACT))
    blend[np.arange(cells), low], blend[np.arange(cells), low + 1] = 1 - (at - low), at - low
    table = (blend @ exact @ blend.T).astype(np.float32)
    for edge in (np.s_[:, :1], np.s_[:, -1:], np.s_[:, :, :1], np.s_[:, :, -1:]):
        table[edge] = _FAR  # what lies outside the table is looked up at its edge
    return table


@lru_cache(maxsize=4)
def texture_table(textures: int, cells: int) -> Array:
    """float32 (textures, cells, cells) in 0 … 1: how much of the second colour stands at each place of the object."""
    x, y = _grid(cells)
    wave = lambda v: (np.sin(v) > 0).astype(float)
    made = {
        "plain": lambda: 0 * x,
        "striped": lambda: wave(2 * np.pi * y / 0.5),
        "dotted": lambda: (np.hypot((x + 5) % 0.5 - 0.25, (y + 5) % 0.5 - 0.25) < 0.15).astype(float),
        "checked": lambda: (wave(np.pi * x / 0.36) != wave(np.pi * y / 0.36)).astype(float),
        "ringed": lambda: wave(2 * np.pi * np.hypot(x, y) / 0.5),
        "zigzag": lambda: wave(2 * np.pi * (y + 0.6 * np.abs((x + 5) % 0.6 - 0.3)) / 0.5),
    }
    return np.stack([made[t]() for t in TEXTURES[:textures]]).astype(np.float32)
