"""Read Fashion-MNIST (28 x 28 grey, 10 classes of clothes); its own train and test split is kept in the id."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator

import numpy as np

from pairwright.data.packs.catalog import Pack
from pairwright.data.packs.rows import Files, Log, Lookup, Row, english

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def parse_idx(data: bytes) -> np.ndarray:
    """A gzipped idx file of unsigned bytes as an array. Raises ValueError where header and length do not agree."""
    raw = gzip.decompress(data)
    if raw[:3] != b"\0\0\x08":
        raise ValueError("not an idx file of unsigned bytes")
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3]))
    body = np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape))
    if body.size != int(np.prod(shape)):
        raise ValueError(f"idx file of shape {shape} holds {body.size} values")
    return body.reshape(shape)


def read(pack: Pack, archive: Files, log: Log, needed: Lookup) -> Iterator[Row]:
    from PIL import Image

    found = {path.rsplit("/", 1)[-1]: parse_idx(data) for path, data in archive.files(lambda p: p.endswith("-ubyte.gz"))}
    for split, stem in (("train", "train"), ("test", "t10k")):
        for i, (pixels, y) in enumerate(zip(found[f"{stem}-images-idx3-ubyte.gz"], found[f"{stem}-labels-idx1-ubyte.gz"], strict=True)):
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, "PNG")
            name = CLASSES[y]
            yield Row(f"{split}/{i:05d}", out.getvalue(), name, english([name]), name, "clothes", name)
