"""The generated world as rows of a table, so that suites can ask it like a pack. Needs no download; training draws other samples.

``world``: scenes of two objects with captions that fit them. ``world-natural``, ``world-dusk`` …: one object in one look (a style of the
world), labelled by its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa

from pairwright.core import io
from pairwright.data.world import vocabulary as V

WORLD = "world"
LOOKS = tuple(f"{WORLD}-{style}" for style in V.STYLES)
START = 10**9
"""Samples from here on are drawn by no training."""


def is_world(name: str) -> bool:
    return name == WORLD or name in LOOKS


def world_rows(name: str) -> tuple[pa.Table, dict[str, Any]]:
    """(rows, what they are) of a world by name."""
    table, spec = scenes() if name == WORLD else things(name.removeprefix(f"{WORLD}-"))
    return table, {"version": io.hash_json(spec)[:16], "rows": len(table), "licence": "generated", "show": True}


def scenes(n: int = 2000) -> tuple[pa.Table, Any]:
    """Scenes of two objects. Captions of scenes with equal facts fit each other."""
    from pairwright.data.world.engine import World

    world = World(0, size=32)
    batch = world.sample(n, START)
    groups = batch.groups.tolist()
    fitting: dict[int, list[str]] = {}
    for group, captions in zip(groups, batch.captions, strict=True):
        fitting.setdefault(group, []).extend(captions)
    rows = []
    for i, (group, png) in enumerate(zip(groups, _pictures(batch), strict=True)):
        captions = list(dict.fromkeys(fitting[group]))
        row = {"id": f"world/{START + i}", "image": png, "captions": captions, "lang": ["en"] * len(captions), "group": f"world/{group}"}
        rows.append({**row, "source": WORLD, "split": "test", "concept": "test"})
    return pa.Table.from_pylist(rows), world.spec


def things(style: str, n: int = 2400) -> tuple[pa.Table, Any]:
    """Single objects in one style: label is the shape, category the colour, and a concept (group) is a shape in a colour."""
    from pairwright.data.world.engine import World
    from pairwright.data.world.switches.style import Style

    world = World(0, size=32, objects=1, shapes=len(V.SHAPES), colours=len(V.COLOURS), style=Style(1.0, (style,)))
    batch = world.sample(n, START)
    shapes = [V.SHAPES[i] for i in batch.facts.shape_NO[:, 0].tolist()]
    colours = [list(V.COLOURS)[i] for i in batch.facts.colour_NO[:, 0].tolist()]
    rows = []
    for i, (shape, colour, png) in enumerate(zip(shapes, colours, _pictures(batch), strict=True)):
        thing = f"{colour} {shape}"
        row = {"id": f"world-{style}/{START + i}", "image": png, "captions": [f"a {thing}"], "lang": ["en"], "name": thing}
        rows.append({**row, "group": thing, "label": shape, "category": colour, "source": WORLD, "split": "test", "concept": "test"})
    return pa.Table.from_pylist(rows), world.spec


def _pictures(batch: Any) -> Sequence[bytes]:
    from PIL import Image

    found = []
    for pixels in np.asarray(batch.images.permute(0, 2, 3, 1)):
        png = BytesIO()
        Image.fromarray(pixels).save(png, "PNG")
        found.append(png.getvalue())
    return found
