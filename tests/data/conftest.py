"""Pictures and tables that the data tests share."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image


def _encode(picture: Image.Image | np.ndarray, format: str = "PNG", **options) -> bytes:
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def encode():
    """A picture or array -> encoded bytes."""
    return _encode


@pytest.fixture(scope="session")
def make_pairs():
    """n rows with an 8x8 picture of one colour (its row number in red and green) and two captions each."""

    def make(n: int, **columns) -> pa.Table:
        pictures = [_encode(np.full((8, 8, 3), (i % 256, i // 256, 7), np.uint8)) for i in range(n)]
        return pa.table(
            {
                "id": [f"row{i}" for i in range(n)],
                "image": pa.array(pictures, pa.large_binary()),
                "captions": [[f"first of {i}", f"second of {i}"] for i in range(n)],
                **columns,
            }
        )

    return make
