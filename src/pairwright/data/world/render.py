"""Facts to pixels: a painter's loop over object slots, each drawn for all scenes at once inside small windows looked up in tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairwright.data.world import shapes as tables
from pairwright.data.world.backgrounds import PLAIN, backdrops
from pairwright.data.world.scene import Facts
from pairwright.data.world.vocabulary import COLOURS

Array = np.ndarray
_RGB = np.array(list(COLOURS.values()), dtype=np.float32) / 255
_DARK = _RGB.mean(1, keepdims=True) < 0.35
SECOND_RGB = np.where(_DARK, 0.45 * _RGB + 0.55, 0.42 * _RGB).astype(np.float32)
"""The second colour of a textured object: a lighter one for dark colours, a darker one for the rest."""
_PLACES = {  # where the copies of a group stand, in units of the object's radius
    1: ((0.0, 0.0),),
    2: ((-0.52, 0.0), (0.52, 0.0)),
    3: ((0.0, -0.5), (-0.5, 0.42), (0.5, 0.42)),
    4: ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)),
}
_CHUNK = 1 << 21  # canvas pixels painted at a time: stays inside the processor's cache


@dataclass
class Rendered:
    """pixels_NSS3: float32 in 0 … 1. owner_NSS: index of the object seen at each pixel, -1 for background. area_NO: pixels that each
    object would cover if nothing stood before it."""

    pixels_NSS3: Array
    owner_NSS: Array
    area_NO: Array


def render(facts: Facts, size: int, *, shapes: int, textures: int) -> Rendered:
    """Draw all scenes at size x size pixels."""
    n, O = facts.shape_NO.shape
    out = Rendered(np.empty((n, size, size, 3), np.float32), np.empty((n, size, size), np.int8), np.zeros((n, O), np.int64))
    step = max(1, _CHUNK // (size * size * 4))
    cells = 128 if size <= 64 else 320
    lookup = tables.distance_table(shapes, cells), tables.texture_table(textures, cells)
    for at in range(0, n, step):
        _paint(facts, slice(at, min(at + step, n)), size, cells, lookup, out)
    return out


def _paint(facts: Facts, part: slice, size: int, cells: int, lookup: tuple[Array, Array], out: Rendered) -> None:
    centre_NO2, radius_NO = facts.centre_NO2[part] * size, facts.radius_NO[part] * size
    m, O = radius_NO.shape
    pad = int(np.ceil(radius_NO.max(initial=1.0) * 1.1)) + 2
    wide = size + 2 * pad
    canvas = np.empty((m, wide, wide, 3), np.float32)
    canvas[:] = PLAIN
    inner = canvas[:, pad : pad + size, pad : pad + size]
    backdrops(facts.background_N[part], facts.backdrop_N[part], facts.source_N[part], inner)
    owner = np.full((m, wide, wide), -1, np.int8)
    flat, flat_owner = canvas.reshape(-1, 3), owner.reshape(-1)
    order_NO = np.argsort(-facts.depth_NO[part], axis=1)  # far to near
    for slot in range(O):
        who = order_NO[:, slot]
        seen = facts.present_NO[part][np.arange(m), who] & (facts.opacity_NO[part][np.arange(m), who] > 0)
        for copies, places in _PLACES.items():
            rows = np.nonzero(seen & (facts.count_NO[part][np.arange(m), who] == copies - 1))[0]
            if not len(rows):
                continue
            o = who[rows]
            here = (rows + part.start, o)
            radius, look = radius_NO[rows, o], (facts.shape_NO[here], facts.texture_NO[here], facts.colour_NO[here])
            for place in places:
                at = centre_NO2[rows, o] + radius[:, None] * np.array(place)
                each = radius if copies == 1 else 0.46 * radius
                hit, row_of_hit = _stamp(
                    flat, rows, at, each, facts.angle_NO[here], facts.opacity_NO[here], look, (pad, wide), cells, lookup
                )
                flat_owner[hit] = o[row_of_hit]
                out.area_NO[part][rows, o] += np.bincount(row_of_hit, minlength=len(rows))
    out.pixels_NSS3[part] = inner
    out.owner_NSS[part] = owner[:, pad : pad + size, pad : pad + size]


def _stamp(
    flat: Array, rows: Array, at_R2: Array, radius_R: Array, angle_R: Array, opacity_R: Array, look: tuple[Array, Array, Array],
    canvas: tuple[int, int], cells: int, lookup: tuple[Array, Array],
) -> tuple[Array, Array]:  # fmt: skip
    """Blend one object per row into the flat canvas. Returns the flat index and the row of each pixel that is at least half covered."""
    distance, pattern = lookup
    pad, wide = canvas
    half = int(np.ceil(radius_R.max() * 1.02 + 0.5))
    corner_R2 = np.floor(at_R2).astype(np.int64) - half
    off_RP2 = corner_R2[:, None, :] + np.arange(2 * half + 1)[None, :, None] + 0.5 - at_R2[:, None, :]
    unit_R = cells / (2 * tables.EXTENT) / radius_R
    cos, sin = np.cos(angle_R) * unit_R, np.sin(angle_R) * unit_R
    x_RP, y_RP = off_RP2[..., 0], off_RP2[..., 1]
    mid, top = cells / 2, cells - 1
    f32 = lambda a: a.astype(np.float32)
    u_RPP = f32(x_RP * cos[:, None] + mid)[:, None, :] + f32(y_RP * sin[:, None])[:, :, None]
    v_RPP = f32(y_RP * cos[:, None] + mid)[:, :, None] - f32(x_RP * sin[:, None])[:, None, :]
    cell_RPP = np.clip(v_RPP, 0, top).astype(np.int32) * np.int32(cells) + np.clip(u_RPP, 0, top).astype(np.int32)
    shape, texture, colour = look
    d_RPP = distance.reshape(-1).take(cell_RPP + (shape * cells * cells).astype(np.int32)[:, None, None])
    d_RPP *= f32(radius_R)[:, None, None]  # in pixels
    # from here on only the pixels that the object touches
    touched = np.flatnonzero(d_RPP < 0.5)
    d = d_RPP.reshape(-1)[touched]
    side = 2 * half + 1
    r = touched // (side * side)
    rest = touched - r * (side * side)
    py = rest // side
    where = (rows * wide * wide + (corner_R2[:, 1] + pad) * wide + corner_R2[:, 0] + pad)[r] + py * wide + (rest - py * side)
    rgb = _RGB[colour][r]
    if len(pattern) > 1:
        t = pattern.reshape(-1).take(cell_RPP.reshape(-1)[touched] + (texture * cells * cells).astype(np.int32)[r])
        rgb += t[:, None] * (SECOND_RGB[colour][r] - rgb)
    rim = f32(np.maximum(0.09 * radius_R, 0.7))[r]  # a darker rim separates objects from grounds of their own colour
    rgb *= (1 - 0.4 * np.clip(1 + d / rim, 0, 1))[:, None]
    alpha = np.clip(0.5 - d, 0, 1)
    covered = alpha >= 0.5
    alpha *= f32(opacity_R)[r]
    under = flat.take(where, axis=0)
    flat[where] = under + alpha[:, None] * (rgb - under)
    return where[covered], r[covered]
