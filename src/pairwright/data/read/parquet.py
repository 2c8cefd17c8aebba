"""Parquet: our own tables, the output of img2dataset, the metadata of clip-retrieval, Hugging Face exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairwright.data.conform import conform
from pairwright.data.pairs import note_skipped


def read(path: Path, *, columns: list[str] | None = None, root: str | Path | None = None, strict: bool = False, **names: Any) -> pa.Table:
    """Read a parquet file, or all parquet files of a folder in the order of their names, as one table.

    columns: only these. Relative image paths start at `root` (default: the folder of the file, where the image is a path). Rows that
    img2dataset marks as failed, and files that are no parquet, are left out and listed (strict: an error).
    """
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    parts: list[pa.Table] = []
    skipped: dict[str, str] = {}
    for file in files:
        try:
            parts.append(pq.ParquetFile(file).read(columns=columns))
        except (pa.ArrowException, OSError) as e:
            if strict or len(files) == 1:
                raise ValueError(f"{file} is not a readable parquet file: {str(e)[:200]}") from None
            skipped[str(file)] = f"not a readable parquet file: {str(e)[:200]}"
    if not parts:
        raise ValueError(f"{path} holds no readable parquet file")
    raw = pa.concat_tables(parts, promote_options="permissive")
    if {"status", "key"} <= set(raw.column_names):  # img2dataset
        status, keys = raw.column("status").to_pylist(), raw.column("key").to_pylist()
        skipped |= {str(k): f"download: {s}" for k, s in zip(keys, status) if s != "success"}
        raw = raw.filter(pa.array([s == "success" for s in status]))
    if strict and skipped:
        raise ValueError("{}: {}".format(*next(iter(skipped.items()))))
    folder = path if path.is_dir() else path.parent
    return note_skipped(conform(raw, root=folder if root is None else root, source=str(path), **names), skipped)
