"""Scenes as arrays of facts: what is where. Drawing facts is independent of drawing pixels and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairwright.data.world.draws import Draw, fold
from pairwright.data.world.vocabulary import SIZES

Array = np.ndarray


@dataclass
class Facts:
    """n scenes of up to O objects. Indices point into the vocabulary; the first letters after the underscore are the shape.

    ids_N: sample ids; source_N: id of the scene that is shown (differs for copies). present_NO; shape_NO, colour_NO, texture_NO,
    size_NO, count_NO (0 = one). centre_NO2 (x, y) and radius_NO in units of the canvas, angle_NO in radians, depth_NO in (0, 1), small
    is near; opacity_NO in 0 … 1. background_N and style_N: -1 and 0 when absent. backdrop_N: strength of the background's drawing.
    """

    ids_N: Array
    source_N: Array
    present_NO: Array
    shape_NO: Array
    colour_NO: Array
    texture_NO: Array
    size_NO: Array
    count_NO: Array
    centre_NO2: Array
    radius_NO: Array
    angle_NO: Array
    depth_NO: Array
    opacity_NO: Array
    background_N: Array
    backdrop_N: Array
    style_N: Array

    def __len__(self) -> int:
        return len(self.ids_N)

    @property
    def relation_N(self) -> Array:
        """Where object 0 stands as seen from object 1 (index into RELATIONS), -1 with fewer than two objects."""
        if self.shape_NO.shape[1] < 2:
            return np.full(len(self), -1)
        return np.where(self.present_NO[:, 1], relation(self.centre_NO2[:, 0], self.centre_NO2[:, 1]), -1)

    @property
    def position_NO(self) -> Array:
        """Cell of a 3 x 3 grid, row-major from the top left."""
        cell = np.clip((self.centre_NO2 * 3).astype(np.int64), 0, 2)
        return cell[..., 1] * 3 + cell[..., 0]

    @property
    def group_N(self) -> Array:
        """int64 ids: equal where two scenes have the same describable facts, in whatever order their objects stand."""
        n, O = self.shape_NO.shape
        packed = np.stack([self.shape_NO, self.colour_NO, self.texture_NO, self.size_NO, self.count_NO], -1).reshape(n * O, -1)
        code_NO = np.where(self.present_NO, fold(packed).reshape(n, O), -1)
        first, second, relation_N = code_NO[:, 0], code_NO[:, min(1, O - 1)], self.relation_N
        mirrored = relation_N % 2 == 1
        pair = [np.where(mirrored, second, first), np.where(mirrored, first, second), relation_N // 2]
        return fold(np.stack([*pair, *np.sort(code_NO, 1).T, self.background_N, self.style_N], 1))


def relation(a_N2: Array, b_N2: Array) -> Array:
    """Index into RELATIONS of a as seen from b, along the axis on which they differ most."""
    dx, dy = (a_N2 - b_N2)[..., 0], (a_N2 - b_N2)[..., 1]
    return np.where(abs(dx) >= abs(dy), np.where(dx < 0, 0, 1), np.where(dy < 0, 2, 3))


@dataclass(frozen=True)
class Vocabulary:
    """How many of each a world uses, and the prior weight of each shape and colour (ones unless a switch tilts them)."""

    shapes: int
    colours: int
    textures: int
    sizes: int
    counts: int
    objects: tuple[int, int]
    shape_prior: Array
    colour_prior: Array


def draw_facts(draw: Draw, source_N: Array, v: Vocabulary) -> Facts:
    """Scenes for the ids in `draw`. Objects of one scene differ in shape and in colour, so captions can name them without doubt."""
    n, (least, O) = len(source_N), v.objects
    number_N = least + draw.integers("number", O - least + 1)
    centre_NO2, reach = _layout(draw, n, O)
    size_NO = draw.integers("size", v.sizes, O)
    scale_V = np.array(list(SIZES[v.sizes].values()))
    return Facts(
        ids_N=source_N.copy(),
        source_N=source_N,
        present_NO=np.arange(O)[None] < number_N[:, None],
        shape_NO=draw.race("shape", v.shape_prior, O),
        colour_NO=draw.race("colour", v.colour_prior, O),
        texture_NO=draw.integers("texture", v.textures, O),
        size_NO=size_NO,
        count_NO=draw.integers("count", v.counts, O),
        centre_NO2=centre_NO2,
        radius_NO=reach * scale_V[size_NO] * (0.92 + 0.16 * draw.uniform("radius", O)),
        angle_NO=0.35 * (draw.uniform("angle", O) - 0.5),
        depth_NO=draw.race("depth", np.ones(O), O) / (O + 1.0) + (0.1 + 0.8 * draw.uniform("depth jitter", O)) / (O + 1.0),
        opacity_NO=np.ones((n, O)),
        background_N=np.full(n, -1),
        backdrop_N=np.zeros(n),
        style_N=np.zeros(n, dtype=np.int64),
    )


def _layout(draw: Draw, n: int, O: int) -> tuple[Array, float]:
    """Centres (n, O, 2) without overlap, and the largest radius that keeps it so.

    One object stands anywhere; two stand in a drawn relation, clearly along one axis; more take distinct cells of a square grid.
    """
    jitter = draw.uniform("place", 2 * O).reshape(n, O, 2) - 0.5
    if O == 1:
        return 0.5 + 0.4 * jitter, 0.275
    if O == 2:
        kind = draw.integers("relation", 4)
        axis, sign = kind // 2, np.where(kind % 2 == 0, -1.0, 1.0)
        step_N2 = np.zeros((n, 2))
        step_N2[np.arange(n), axis] = sign * (0.23 + 0.02 * jitter[:, 1, 1])
        slack_N2 = np.where(axis[:, None] == np.arange(2), 0.06, 0.46) * jitter[:, 0]
        cross_N2 = np.where(axis[:, None] == np.arange(2), 0.0, 0.05) * jitter[:, 1, :1]
        middle = 0.5 + slack_N2
        return np.stack([middle + step_N2 + cross_N2, middle - step_N2 - cross_N2], 1), 0.2
    side = int(np.ceil(np.sqrt(O)))
    cell_NO = draw.race("cells", np.ones(side * side), O)
    corner_NO2 = np.stack([cell_NO % side, cell_NO // side], -1)
    return (corner_NO2 + 0.5 + 0.16 * jitter) / side, 0.39 / side
