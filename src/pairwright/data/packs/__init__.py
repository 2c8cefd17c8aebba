"""Packs: real image-text pairs, fetched and built into the cache on first use (clip art, stamps, emoji, icons, Fashion-MNIST).

>>> from pairwright.data import packs
>>> packs.PACKS["twemoji"].licence
'CC-BY-4.0'
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairwright.data.packs.catalog import PACKS, Pack

__all__ = ["PACKS", "Pack", "available", "get", "is_cached", "load"]


def get(name: str, *, progress: bool = True, strict: bool = False) -> Path:
    """Fetch and build a pack, or find it built: the path of its ``pairs.parquet`` (see `build.get`)."""
    from pairwright.data.packs import build

    return build.get(name, progress=progress, strict=strict)


def load(name: str, columns: list[str] | None = None) -> Any:
    """A pack as a pyarrow table, fetched and built on first use; `columns` reads only those."""
    import pyarrow.parquet as pq

    return pq.read_table(get(name), columns=columns)


def is_cached(name: str) -> bool:
    """Is the pack built, so that `load` needs no network?"""
    from pairwright.data.packs import build

    return build.is_cached(name)


def available() -> list[str]:
    """The names of the packs that are built."""
    return [name for name in PACKS if is_cached(name)]
