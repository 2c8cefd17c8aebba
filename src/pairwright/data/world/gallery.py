"""Draws the page about the world, one picture for each switch: ``python -m pairwright.data.world.gallery [FOLDER]``."""

from __future__ import annotations

import inspect
import sys
import textwrap
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from pairwright.core import io
from pairwright.data.world import switch as switching
from pairwright.data.world import vocabulary as V
from pairwright.data.world.batch import Batch
from pairwright.data.world.engine import World
from pairwright.data.world.simulate import simulate
from pairwright.data.world.video import film

_TILE, _COLUMNS, _GUTTER = 72, 8, 4
_MOST_BYTES = 30_000


def sheet(images_N3SS: np.ndarray, columns: int = _COLUMNS, gutter: int = _GUTTER) -> Image.Image:
    """A contact sheet of uint8 pictures (n, 3, S, S), row by row on white."""
    n, _, S, _ = images_N3SS.shape
    rows = -(-n // columns)
    step = S + gutter
    out = np.full((rows * step - gutter, columns * step - gutter, 3), 255, np.uint8)
    for k, x in enumerate(images_N3SS):
        at = divmod(k, columns)
        out[at[0] * step : at[0] * step + S, at[1] * step : at[1] * step + S] = x.transpose(1, 2, 0)
    return Image.fromarray(out)


def _base(name: str) -> World:
    """The world that shows a switch best, the switch itself absent."""
    more: dict[str, object] = {"shapes": 12, "colours": 12}
    if name in ("background", "spurious", "duplicates", "style", "illumination", "viewpoint", "shuffled"):
        more["background"] = 1.0
    if name == "spurious":
        more |= {"shapes": 3, "objects": 1}
    if name in ("long_tail", "label_shift"):
        more |= {"objects": 1, "shapes": 6}
    world = World(3, size=_TILE, **more)  # type: ignore[arg-type]
    return world.but(background=0) if name == "background" else world


def _full(name: str, world: World) -> World:
    """The same world with the switch at full strength (copies at 0.6, so that something is left to copy)."""
    if name == "duplicates":
        return world.but(duplicates=switching.kind(name)(0.6, jitter=0.5, window=4))  # type: ignore[call-arg]
    return world.but(**{name: 1.0})


def _save(picture: Image.Image, path: Path) -> None:
    """WebP at the best quality that fits into the limit; raises where none does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in (88, 75, 60, 45, 30):
        with io.atomic(path) as tmp:
            picture.save(tmp, "WEBP", quality=quality, method=6)
        if path.stat().st_size < _MOST_BYTES:
            return
    raise ValueError(f"{path} cannot be made smaller than {_MOST_BYTES} bytes: use fewer or smaller tiles")


def _entry(name: str, folder: Path) -> str:
    world = _base(name)
    full = _full(name, world)
    off, on = world.sample(_COLUMNS), full.sample(_COLUMNS)
    changes_pixels = not torch.equal(off.images, on.images)
    picture = sheet(np.concatenate([off.images.numpy(), on.images.numpy()])) if changes_pixels else _captioned(off, on)
    _save(picture, folder / f"{name}.webp")
    doc = inspect.cleandoc(switching.kind(name).__doc__ or "").replace("``", "`")
    settings = ", ".join(f"`{k}={v!r}`" for k, v in full.spec[name].items())
    return "\n".join(
        [f"### {name}", "", doc, "", f"Settings: {settings}.", "", f"![the same samples without and with {name}]({name}.webp)", ""]
    )


def _captioned(off: Batch, on: Batch, rows: int = 4) -> Image.Image:
    """Pictures with their captions, absent above full, for switches that change words only."""
    width = _COLUMNS * (_TILE + _GUTTER) - _GUTTER
    out = Image.new("RGB", (width, rows * (_TILE + _GUTTER) - _GUTTER), "white")
    pen, font = ImageDraw.Draw(out), ImageFont.load_default(12)
    for k in range(rows):
        top = k * (_TILE + _GUTTER)
        out.paste(sheet(on.images[k : k + 1].numpy()), (0, top))
        for line, (caption, ink) in enumerate(((off.caption[k], "#777777"), (on.caption[k], "black"))):
            text = "\n".join(textwrap.wrap(caption, 84)[:2])
            pen.multiline_text((_TILE + 12, top + 4 + 34 * line), text, ink, font, spacing=2)
    return out


def _vocabulary(folder: Path) -> str:
    """All shapes in all colours, then all textures, then all grounds."""
    world = World(0, size=_TILE, objects=1, shapes=24, colours=24, textures=6, background=1)
    batch = world.sample(24 + 6 + 10)
    f, k = batch.facts, np.arange(24)
    f.shape_NO[:24, 0], f.colour_NO[:24, 0], f.shape_NO[24:, 0], f.colour_NO[24:, 0] = k, k, 0, 3
    f.texture_NO[:, 0], f.texture_NO[24:30, 0] = 0, np.arange(6)
    f.background_N[:], f.background_N[30:] = -1, np.arange(10)
    f.centre_NO2[:], f.radius_NO[:], f.angle_NO[:] = 0.5, 0.4, 0
    f.radius_NO[30:] = 0.2
    _save(sheet(batch.images.numpy()), folder / "vocabulary.webp")
    lists = {"Shapes": V.SHAPES, "Colours": tuple(V.COLOURS), "Textures": V.TEXTURES, "Backgrounds": V.BACKGROUNDS, "Styles": V.STYLES}
    lines = [f"- **{title}** ({len(names)}): {', '.join(names)}" for title, names in lists.items()]
    return "\n".join(["## Vocabulary", "", "![every shape, colour, texture and ground](vocabulary.webp)", "", *lines, ""])


def _truth(folder: Path) -> str:
    """Pictures, masks and depth of occluded scenes."""
    batch = World(1, size=_TILE, objects=3, shapes=24, colours=24, textures=3, sizes=2, occlusion=0.5, background=1).sample(_COLUMNS)
    inks = np.array([[60, 60, 60], [230, 80, 70], [70, 170, 90], [80, 110, 230]], np.uint8)
    owner = np.where(batch.masks.any(1).numpy(), batch.masks.numpy().argmax(1) + 1, 0)
    depth = np.repeat((255 * (1 - batch.depth.numpy() ** 2))[:, None], 3, 1).astype(np.uint8)
    _save(sheet(np.concatenate([batch.images.numpy(), inks[owner].transpose(0, 3, 1, 2), depth])), folder / "truth.webp")
    return "\n".join(["## Truth", "", "Every picture comes with masks, boxes and depth (near is bright), and with all facts as arrays.", "",
                      "![pictures, masks, depth](truth.webp)", ""])  # fmt: skip


def _video(folder: Path) -> str:
    made = film(World(4, size=_TILE), 3, frames=8)
    _save(sheet(made.images.flatten(0, 1).numpy()), folder / "video.webp")
    lines = [
        f"- {c}: " + ", ".join(f"frames {a} to {b - 1}" for a, b in zip(*t)) for c, *t in zip(made.captions(), made.start_NE, made.stop_NE)
    ]
    head = "`video.film(world, n)` plays events in turn, with their times and an order that captions tell (or tell wrongly)."
    return "\n".join(["## Videos", "", head, "", "![three videos of eight frames](video.webp)", "", *lines, ""])


def _simulate() -> str:
    doc = inspect.cleandoc(simulate.__doc__ or "").split("\n\n")
    head = "`simulate(seed, ...)` draws features and class text with the same kinds of faults, in milliseconds."
    return "\n\n".join(["## The feature-level twin", head, "\n".join(["```text", doc[2], "```"]), ""])


_HEAD = """# The generated world

Pictures, captions and truth from one seed: sample *i* is a pure function of (seed, *i*). Every switch is one planted factor with a
strength from 0 (exactly absent: the control) to 1. The pictures show the same samples without each switch (above) and with it.

```python
from pairwright.data.world.engine import World

world = World(0, size=64, objects=2, shapes=20, colours=20, background=1, spurious=0.9)
batch = world.sample(256)         # batch.images, batch.caption, batch.facts, batch.masks, batch.hard("swap") …
control = world.but(spurious=0)   # the same scenes, cue and class unrelated
```
"""


def write(folder: Path) -> None:
    """Write index.md and all pictures."""
    parts = [
        _vocabulary(folder),
        _truth(folder),
        "## Switches\n",
        *(_entry(n, folder) for n in switching.available()),
        _video(folder),
        _simulate(),
    ]
    io.write_text(folder / "index.md", "\n".join([_HEAD, *parts]))


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/world"))
