"""Read pairs from whatever you have: image folders, CSV, JSONL, parquet, WebDataset tars, Hugging Face datasets, lists of images."""

from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairwright.core import io
from pairwright.data import shards
from pairwright.data.conform import conform
from pairwright.data.hashing import table_hash
from pairwright.data.pairs import COLUMNS, Remark, skipped_of, validate
from pairwright.data.read import delimited, folder, hf, items, jsonl, parquet, tars

__all__ = ["COLUMNS", "Remark", "read_table", "skipped_of", "table_hash", "validate", "write_table"]

FORMATS = ("folder", "csv", "jsonl", "parquet", "tar", "hf")
_BY_SUFFIX = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".tar": "tar"}


def read_table(source: Any, *, format: str | None = None, **options: Any) -> pa.Table:
    """Read pairs of images and texts into one table in the pairs format (see `pairs.COLUMNS`).

    source: a folder of images (its folders are the classes), a CSV/TSV, JSONL or parquet file, tar shards (file, folder, glob, or
    ``name-{000..012}.tar``), a folder written by `write_shards` or by `save_to_disk`, a Hugging Face dataset, a table, or a list of
    images. format: one of folder, csv, jsonl, parquet, tar, hf, where the name does not say it. options: of the reader, mostly `image`,
    `caption`, `id`, `label` (column names), `root` (where relative paths start), `split`, `strict`.

    What cannot be read is left out; `skipped_of(table)` lists it. Raises ValueError or FileNotFoundError with the fix in the message.

    >>> table = read_table([b"..."], captions=["a red apple"])
    >>> table.column_names
    ['id', 'image', 'captions']
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: choose one of {', '.join(FORMATS)}")
    try:
        table = _read(source, format, options)
    except TypeError as e:
        if "keyword argument" in str(e):
            raise ValueError(f"an option does not fit this kind of source: {e}") from None
        raise
    validate(table)
    return table


def _read(source: Any, format: str | None, options: dict[str, Any]) -> pa.Table:
    if isinstance(source, pa.Table):
        return conform(source, **options)
    if hf.is_dataset(source):
        return hf.read(source, **options)
    if not isinstance(source, (str, os.PathLike)):
        if isinstance(source, Sequence) and not isinstance(source, (bytes, bytearray)):
            return items.read(source, **options)
        raise ValueError(f"cannot read pairs from a {type(source).__name__}: give a path, a table, a dataset, or a list of images")
    path = Path(source).expanduser()
    if not path.exists():
        found = _named_shards(str(path))
        if not found:
            raise FileNotFoundError(f"{source} does not exist")
        return tars.read(found, **options)
    if format is None and shards.is_shards(path):
        return shards.read_shards(path, **options)
    format = format or _guess(path)
    if format == "tar":
        return tars.read(sorted(path.rglob("*.tar")) if path.is_dir() else [path], **options)
    if format == "folder":
        beside = next((path / f"metadata{s}" for s in (".csv", ".jsonl", ".parquet") if (path / f"metadata{s}").is_file()), None)
        return folder.read(path, **options) if beside is None else _read(beside, None, options)
    return {"csv": delimited.read, "jsonl": jsonl.read, "parquet": parquet.read, "hf": hf.read}[format](path, **options)


def _guess(path: Path) -> str:
    if path.is_file():
        format = _BY_SUFFIX.get(path.suffix.lower())
        if format is None:
            raise ValueError(
                f"{path} could be anything: known suffixes are {', '.join(_BY_SUFFIX)}; or pass format= ({', '.join(FORMATS)})"
            )
        return format
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        return "hf"
    for suffix in (".tar", ".parquet"):
        if any(path.glob(f"*{suffix}")) and not (path / f"metadata{suffix}").is_file():
            return _BY_SUFFIX[suffix]
    return "folder"


def _named_shards(pattern: str) -> list[Path]:
    """Tars that a glob or a {000..012} range names; a missing one of a range is kept, so that it is reported."""
    names = tars.expand(pattern)
    if len(names) > 1:
        return [Path(n) for n in names] if any(os.path.exists(n) for n in names) else []
    return [Path(p) for p in sorted(glob.glob(pattern, recursive=True)) if p.endswith(".tar")] if glob.has_magic(pattern) else []


def write_table(table: pa.Table, path: str | Path) -> Path:
    """Write a table as parquet, CSV, TSV or JSONL, by the suffix, atomically. Text formats hold paths, not image bytes."""
    validate(table)
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".parquet":
        rows = 1000 if "image" in table.column_names else 100_000
        with io.atomic(path) as tmp:
            pq.write_table(table, tmp, compression="zstd", row_group_size=rows)
        return path
    if kind not in (".csv", ".tsv", ".jsonl"):
        raise ValueError(f"cannot write {path.name!r}: use .parquet, .csv, .tsv or .jsonl, or write_shards for tars")
    if "image" in table.column_names:
        raise ValueError("image bytes do not fit into a text file: write .parquet, or tars with write_shards")
    with io.atomic(path) as tmp, tmp.open("w", encoding="utf-8", newline="") as f:
        if kind == ".jsonl":
            f.writelines(
                json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) + "\n" for row in table.to_pylist()
            )
        else:
            writer = csv.writer(f, delimiter="\t" if kind == ".tsv" else ",", lineterminator="\n")
            writer.writerow(table.column_names)
            writer.writerows([_cell(v) for v in row.values()] for row in table.to_pylist())
    return path


def _cell(value: Any) -> str:
    """A value as one cell: lists and structs as JSON, nothing as an empty cell."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
