"""A plain list of images: paths, encoded bytes, PIL images or arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pairwright.data.images import open_image
from pairwright.data.pairs import COLUMNS


def read(items: Sequence[Any], *, captions: Sequence[str | Sequence[str]] | None = None, ids: Sequence[str] | None = None) -> pa.Table:
    """A list of images -> table. captions, ids: one for each image (a caption may be a list of captions).

    Pictures and arrays are kept as PNG, exact to the bit.
    """
    for name, given in (("captions", captions), ("ids", ids)):
        if given is not None and len(given) != len(items):
            raise ValueError(f"{len(items)} images but {len(given)} {name}: give one for each image")
    stored, paths = zip(*(_store(item) for item in items)) if items else ((), ())
    names = [_name(i, path) for i, path in enumerate(paths)] if ids is None else list(map(str, ids))
    if ids is None and len(set(names)) < len(names):
        names = [f"{i:09d}" for i in range(len(items))]
    table = {"id": pa.array(names, pa.string())}
    if any(s is not None for s in stored):
        table["image"] = pa.array(stored, COLUMNS["image"])
    if any(p is not None for p in paths) or "image" not in table:
        table["path"] = pa.array(paths, pa.string())
    if captions is not None:
        table["captions"] = pa.array([[c] if isinstance(c, str) else list(c) for c in captions], COLUMNS["captions"])
    return pa.table(table)


def _store(item: Any) -> tuple[bytes | None, str | None]:
    if isinstance(item, (str, os.PathLike)):
        return None, os.path.abspath(item)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item), None
    if isinstance(item, (Image.Image, np.ndarray)):
        buffer = BytesIO()
        picture = open_image(item, alpha=True)
        (picture if picture.getextrema()[3][0] < 255 else picture.convert("RGB")).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue(), None
    raise ValueError(f"a {type(item).__name__} is no image: expected a path, bytes, a PIL image or a numpy array")


def _name(i: int, path: str | None) -> str:
    return f"{i:09d}" if path is None else path
