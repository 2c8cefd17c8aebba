"""A hash of what a table says, whatever its chunks, slices, offsets and column order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def table_hash(table: pa.Table, columns: Iterable[str] | None = None) -> str:
    """sha256 over the names and values of all (or some) columns, hex."""
    h = hashlib.sha256()
    for name in sorted(columns or table.column_names):
        h.update(f"{name}|{len(table)}|".encode())
        hash_column(h, table.column(name).chunks)
    return h.hexdigest()


def hash_column(h: Any, chunks: list[pa.Array]) -> None:
    """Feed a column's logical content to the hash `h`: which values are there, then their lengths and children, or plain values."""
    chunks = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in chunks if len(c)]
    if not chunks:
        return h.update(b"empty|")
    kind = chunks[0].type
    name = family(kind)
    h.update(f"{sum(map(len, chunks))}|{name}|".encode())
    h.update(np.packbits(np.concatenate([c.is_valid().to_numpy(zero_copy_only=False) for c in chunks])).tobytes())
    if name == "struct":
        for i in sorted(range(kind.num_fields), key=lambda i: kind.field(i).name):
            h.update(f"{kind.field(i).name}|".encode())
            hash_column(h, [c.flatten()[i] for c in chunks])
    elif name == "list":
        _numbers(h, (pc.fill_null(pc.list_value_length(c), 0) for c in chunks), "<i8")
        hash_column(h, [c.flatten() for c in chunks])
    elif name in ("string", "binary"):
        chunks = [c.drop_null() for c in chunks]
        _numbers(h, (pc.binary_length(c) for c in chunks), "<i8")
        for chunk in chunks:
            h.update(_joined(chunk.cast(pa.large_binary())))
    elif not pa.types.is_null(kind):
        _numbers(h, (c.drop_null() for c in chunks), None)
    return None


def _numbers(h: Any, chunks: Iterable[pa.Array], dtype: str | None) -> None:
    for chunk in chunks:
        values = chunk.to_numpy(zero_copy_only=False)
        h.update(np.ascontiguousarray(values if dtype is None else values.astype(dtype)).tobytes())


def _joined(array: pa.Array) -> memoryview | bytes:
    """All values of a large_binary array without nulls, one after the other, without a copy."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return b""
    ends = np.frombuffer(offsets, "<i8")[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]


def family(kind: pa.DataType) -> str:
    """The kind of value, without the width of its offsets."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "binary"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "list"
    return "struct" if pa.types.is_struct(kind) else str(kind)
