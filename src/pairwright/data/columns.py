"""What training reads from a table of pairs: image sources, integer sample and group ids, keys of duplicates, weights."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pairwright.data.hashing import hash_column
from pairwright.data.worker import Source


def int_ids(strings: list[str]) -> np.ndarray:
    """int64 (N,) ids from strings: the same string gives the same number everywhere (63 bits of blake2b)."""
    digest = hashlib.blake2b
    raw = b"".join(digest(s.encode(), digest_size=8).digest() for s in strings)
    return (np.frombuffer(raw, "<u8") >> np.uint64(1)).astype(np.int64)


def sample_ids(table: pa.Table) -> np.ndarray:
    """int64 (N,) from the column `id`: what random draws are keyed by. It does not depend on the order or on other rows."""
    return int_ids(table.column("id").to_pylist())


def group_ids(table: pa.Table) -> np.ndarray:
    """int64 (N,) from the column `group`; a row without a group is a group of its own."""
    own = sample_ids(table)
    if "group" not in table.column_names:
        return own
    names = table.column("group").cast(pa.string()).dictionary_encode().combine_chunks()
    names = names.chunk(0) if isinstance(names, pa.ChunkedArray) else names
    if len(names) == 0:
        return own
    codes = pc.fill_null(names.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    lookup = int_ids([f"group:{name}" for name in names.dictionary.to_pylist()] or [""])
    return np.where(codes >= 0, lookup[codes], own)


def duplicate_keys(table: pa.Table, *, captions: bool = True) -> list[list[int]]:
    """For each row the integers that must not meet in a batch: its group, and its captions up to case and spaces (see NoDuplicates)."""
    keys = [[g] for g in group_ids(table).tolist()]
    if captions and "captions" in table.column_names:
        for row, texts in enumerate(table.column("captions").to_pylist()):
            words = {" ".join(t.casefold().split()) for t in texts or () if t is not None}
            keys[row] += int_ids([f"caption:{w}" for w in sorted(words) if w]).tolist()
    return keys


def weights(table: pa.Table) -> np.ndarray:
    """float32 (N,) from the column `weight` (1 where absent or null)."""
    if "weight" not in table.column_names:
        return np.ones(len(table), np.float32)
    return pc.fill_null(table.column("weight").cast(pa.float32()), 1.0).to_numpy().astype(np.float32)


class ImageColumn:
    """The image of each row as encoded bytes or a path (relative paths start at `root`)."""

    def __init__(self, table: pa.Table, root: str | Path | None = None) -> None:
        self._bytes = table.column("image") if "image" in table.column_names else None
        self._paths = table.column("path") if "path" in table.column_names else None
        if self._bytes is None and self._paths is None:
            raise ValueError(f"the table has neither an 'image' nor a 'path' column; it has {', '.join(table.column_names)}")
        self._root = None if root is None else Path(root)

    def __getitem__(self, row: int) -> Source:
        if self._bytes is not None:
            value = self._bytes[row].as_py()
            if value is not None or self._paths is None:
                return value
        path = self._paths[row].as_py()
        return path if path is None or self._root is None else str(self._root / path)

    def fingerprint(self) -> str:
        """sha256 over all images: the bytes, or for files path, size and time of change."""
        h = hashlib.sha256()
        if self._bytes is not None:
            hash_column(h, self._bytes.chunks)
        if self._paths is not None:
            for row in range(len(self._paths)):
                if self._bytes is None or not self._bytes[row].is_valid:
                    source = self[row]
                    try:
                        info = os.stat(source) if source else None
                    except OSError:
                        info = None
                    h.update(f"{source}|{info and (info.st_size, info.st_mtime_ns)}\n".encode())
        return h.hexdigest()
