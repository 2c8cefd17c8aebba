"""Write pairs as WebDataset tars or parquet shards with a manifest of checksums; killed in the middle, it goes on where it was."""

from __future__ import annotations

import io as bytes_io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pairwright.core import io
from pairwright.data.columns import ImageColumn
from pairwright.data.hashing import table_hash
from pairwright.data.images import BadImage, Limits, read_file
from pairwright.data.pairs import COLUMNS, note_skipped, validate
from pairwright.data.read import parquet, tars

_MANIFEST, _JOURNAL = "manifest.json", "manifest.part.jsonl"
_MAGIC = {b"\xff\xd8": "jpg", b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp"}


def write_shards(
    table: pa.Table,
    folder: str | Path,
    *,
    format: Literal["tar", "parquet"] = "tar",
    rows: int = 1000,
    root: str | Path | None = None,
    strict: bool = False,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a table, images included, as shards of `rows` rows each; returns the manifest, which also lies in the folder.

    The manifest names each shard with rows, bytes and sha256, the hash of the table, and the rows whose image could not be read (strict:
    an error). Images are copied as they are, not decoded. Each shard appears whole or not at all; the manifest is written last. A second
    call after a kill keeps the finished shards and gives the same bytes as one that was never killed.
    """
    if format not in ("tar", "parquet") or rows < 1:
        raise ValueError("format is 'tar' or 'parquet', and rows at least 1")
    validate(table)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images = ImageColumn(table, root)
    head = {"kind": "pairwright shards", "version": 1, "format": format, "rows": len(table), "per_shard": rows}
    head |= {"table": table_hash(table), "images": images.fingerprint()}
    if (folder / _MANIFEST).is_file():
        manifest = io.read_json(folder / _MANIFEST)
        if {k: manifest.get(k) for k in head} == head:
            return manifest
        raise ValueError(f"{folder} holds the shards of another table or another cut: choose a new folder, or delete it")
    finished = _read_journal(folder / _JOURNAL, head)
    with (folder / _JOURNAL).open("a", encoding="utf-8") as journal:
        for number, start in enumerate(range(0, len(table), rows)):
            file = f"{number:06d}.{format}"
            if not _is_whole(folder, finished.get(file)):
                part, sources, skipped = _collect(table, images, range(start, min(len(table), start + rows)), limits, strict)
                with io.atomic(folder / file) as tmp:
                    _write_tar(tmp, part, sources, start) if format == "tar" else _write_parquet(tmp, part, sources)
                entry = {
                    "file": file,
                    "rows": len(part),
                    "bytes": (folder / file).stat().st_size,
                    "sha256": io.hash_file(folder / file),
                    "skipped": skipped,
                }
                finished[file] = entry
                journal.write(json.dumps({"head": io.hash_json(head), **entry}) + "\n")
                journal.flush()
                os.fsync(journal.fileno())
            if progress is not None:
                progress(min(len(table), start + rows), len(table))
    shards = [finished[name] for name in sorted(finished)]
    skipped = {k: v for s in shards for k, v in s["skipped"].items()}
    manifest = {**head, "shards": [{k: s[k] for k in ("file", "rows", "bytes", "sha256")} for s in shards], "skipped": skipped}
    io.write_json(folder / _MANIFEST, manifest)
    (folder / _JOURNAL).unlink()
    return manifest


def is_shards(folder: Path) -> bool:
    """Does the folder hold finished shards made by `write_shards`?"""
    try:
        return io.read_json(folder / _MANIFEST).get("kind") == "pairwright shards"
    except (OSError, ValueError, AttributeError):
        return False


def read_shards(folder: str | Path, *, verify: Literal["size", "sha256"] = "size", strict: bool = False) -> pa.Table:
    """Read shards back as one table. A shard that is missing or not as the manifest says is left out and listed (strict: an error)."""
    folder = Path(folder)
    if not (folder / _MANIFEST).is_file():
        raise FileNotFoundError(
            f"{folder} has no {_MANIFEST}: writing has not finished (call write_shards again), or use read_table for foreign shards"
        )
    manifest = io.read_json(folder / _MANIFEST)
    if manifest.get("kind") != "pairwright shards" or manifest.get("version") != 1:
        raise ValueError(f"{folder / _MANIFEST} is not a manifest of shards that this version knows")
    good, bad = [], {}
    for entry in manifest["shards"]:
        path = folder / Path(entry["file"]).name
        problem = _problem(path, entry, verify)
        if problem is None:
            good.append(path)
        else:
            bad[str(path)] = problem
    if strict and bad:
        raise ValueError("{}: {}".format(*next(iter(bad.items()))))
    if not good:
        raise ValueError(f"{folder} has no whole shard{f'; first: {next(iter(bad.items()))}' if bad else ''}")
    if manifest["format"] == "tar":
        table = tars.read(good, strict=strict)
    else:
        table = pa.concat_tables([parquet.read(path, strict=strict) for path in good])
    return note_skipped(table, {**manifest["skipped"], **bad})


def _collect(
    table: pa.Table, images: ImageColumn, rows: range, limits: Limits, strict: bool
) -> tuple[pa.Table, list[bytes], dict[str, str]]:
    """The rows of one shard that have an image, its bytes, and the reasons for the others."""
    keep, data, skipped = [], [], {}
    for row in rows:
        source = images[row]
        try:
            if source is None:
                raise BadImage("no image in this row")
            data.append(source if isinstance(source, bytes) else read_file(source, limits))
            keep.append(row)
        except (BadImage, FileNotFoundError) as e:
            name = table.column("id")[row].as_py()
            if strict:
                raise BadImage(f"{name}: {e}") from None
            skipped[name] = str(e)
    part = table.take(pa.array(keep, pa.int64()))
    return part.drop_columns([c for c in ("image", "path") if c in part.column_names]).replace_schema_metadata(None), data, skipped


def _write_tar(path: Path, part: pa.Table, images: list[bytes], start: int) -> None:
    """NUMBER.jpg, NUMBER.txt (one caption a line) and NUMBER.json (everything), without times or owners: the same bytes each time."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for offset, (row, image) in enumerate(zip(part.to_pylist(), images)):
            fields = {k: v for k, v in row.items() if v is not None}
            members = {_suffix(image): image, "json": json.dumps(fields, ensure_ascii=False, default=str).encode()}
            if row.get("captions"):
                members["txt"] = "\n".join(" ".join((c or "").split()) for c in row["captions"]).encode()
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{start + offset:012d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, bytes_io.BytesIO(data))


def _write_parquet(path: Path, part: pa.Table, images: list[bytes]) -> None:
    pq.write_table(part.append_column("image", pa.array(images, COLUMNS["image"])), path, compression="zstd", row_group_size=1000)


def _suffix(image: bytes) -> str:
    """Suffix by the first bytes; what is no known image is left to the reader to refuse, as a jpg."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    return next((suffix for magic, suffix in _MAGIC.items() if image.startswith(magic)), "jpg")


def _read_journal(path: Path, head: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Finished shards of an earlier call for the same table; a line cut off by a kill is ignored."""
    finished: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else ():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if entry.pop("head") == io.hash_json(head):
            finished[entry["file"]] = entry
    return finished


def _is_whole(folder: Path, entry: dict[str, Any] | None) -> bool:
    return entry is not None and _problem(folder / entry["file"], entry, "sha256") is None


def _problem(path: Path, entry: dict[str, Any], verify: str) -> str | None:
    """What is wrong with a shard, or None."""
    if not path.is_file():
        return "the shard is missing"
    if path.stat().st_size != entry["bytes"]:
        return f"the shard has {path.stat().st_size:,} bytes instead of {entry['bytes']:,}: truncated or changed"
    if verify == "sha256" and io.hash_file(path) != entry["sha256"]:
        return "the shard is damaged: its sha256 is not the one in the manifest"
    return None
