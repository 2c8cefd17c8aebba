"""Decode every image once into one memory-mapped array, so that small-image training reads tens of thousands of images a second."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pairwright.core import io
from pairwright.data.columns import ImageColumn
from pairwright.data.hashing import table_hash
from pairwright.data.pool import Decode, DecodePool
from pairwright.data.worker import Decoded

_CHUNK = 256
_VERSION = 1


class DecodedCache:
    """All images of a table as uint8 (N, S, S, C) in a file, with a mark for rows that could not be decoded.

    pixels_NSSC: read-only memory map. good_N: bool. skipped: {id: reason}. Make one with `DecodedCache.build`, which finds a finished
    cache again by the hash of table, files, size and way of fitting, and goes on with an unfinished one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        info = io.read_json(self.folder / "cache.json")
        self.key, self.skipped = info["key"], dict(info["skipped"])
        self.size, self.channels, self.fit = info["size"], info["channels"], info["fit"]
        shape = (info["rows"], self.size, self.size, self.channels)
        self.pixels_NSSC = np.memmap(self.folder / "pixels.u8", np.uint8, "r", shape=shape)
        self.good_N = np.ones(shape[0], bool)
        self.good_N[info["bad_rows"]] = False

    def __len__(self) -> int:
        return len(self.pixels_NSSC)

    def __getitem__(self, rows: Any) -> Tensor:
        """uint8 (b, C, S, S) of the given rows (index array, list or slice)."""
        picked = self.pixels_NSSC[rows if isinstance(rows, slice) else np.asarray(rows, np.int64)]
        return torch.from_numpy(np.ascontiguousarray(picked.transpose(0, 3, 1, 2)))

    @staticmethod
    def build(
        table: pa.Table,
        size: int,
        folder: str | Path | None = None,
        *,
        channels: int = 4,
        fit: str = "contain",
        root: str | Path | None = None,
        workers: int = 0,
        strict: bool = False,
        progress: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> DecodedCache:
        """Decode all images of `table` to size x size, or open the cache made before.

        folder: where caches live (default: the user's cache folder); this one gets a folder of its own in there, named by its key.
        channels: 4 keeps transparency, 3 lays it over white. fit: see `images.pixels`; further options (limits, formats) go there too.
        workers: decoding processes. strict: raise at the first broken image instead of listing it. progress: called with (done, total).
        Killed in the middle, it goes on where it was; two builders of one cache do not collide: the second waits.
        """
        if not len(table):
            raise ValueError("there is nothing to decode: the table has no rows")
        images = ImageColumn(table, root)
        how = {"size": size, "channels": channels, "fit": fit, **{k: str(v) for k, v in options.items()}}
        key = io.hash_json([_VERSION, table_hash(table, ["id"]), images.fingerprint(), how])
        target = (io.cache_dir("decoded") if folder is None else Path(folder)) / f"{key[:16]}-{size}x{channels}"
        target.mkdir(parents=True, exist_ok=True)
        with _only_one(target):
            if not (target / "cache.json").exists():
                with DecodePool(workers, size=size, channels=channels, fit=fit, **options) as pool:
                    bad = _fill(target, len(table), size, channels, images, pool, strict, progress)
                ids = table.column("id").take(pa.array(sorted(bad), pa.int64())).to_pylist()
                skipped = {i: bad[row] for i, row in zip(ids, sorted(bad))}
                info = {
                    "key": key,
                    "rows": len(table),
                    "size": size,
                    "channels": channels,
                    "fit": fit,
                    "bad_rows": sorted(bad),
                    "skipped": skipped,
                }
                io.write_json(target / "cache.json", info)
                (target / "done.jsonl").unlink(missing_ok=True)
        cache = DecodedCache(target)
        if strict and cache.skipped:
            raise ValueError("{} images are broken; first: {}: {}".format(len(cache.skipped), *next(iter(cache.skipped.items()))))
        return cache


def _fill(
    folder: Path,
    n: int,
    size: int,
    channels: int,
    images: ImageColumn,
    pool: DecodePool,
    strict: bool,
    progress: Callable[[int, int], None] | None,
) -> dict[int, str]:
    """Write pixels chunk by chunk. A chunk enters the journal after its pixels are on disk, so a kill loses only what is under way."""
    bad, done = _read_journal(folder / "done.jsonl")
    path = folder / "pixels.u8"
    bytes_needed = n * size * size * channels
    with path.open("r+b" if path.exists() else "w+b") as f:
        f.truncate(bytes_needed)
    out = (
        np.memmap(path, np.uint8, "r+", shape=(n, size, size, channels)) if bytes_needed else np.empty((0, size, size, channels), np.uint8)
    )
    todo = deque(start for start in range(0, n, _CHUNK) if start not in done)
    waiting: deque = deque()
    with (folder / "done.jsonl").open("a", encoding="utf-8") as journal:
        while todo or waiting:
            while todo and len(waiting) <= pool.workers:
                rows = range(todo[0], min(n, todo.popleft() + _CHUNK))
                waiting.append((rows, pool.submit(_decode_rows, images, rows)))
            rows, future = waiting.popleft()
            failed: dict[int, str] = {}
            for row, result in zip(rows, future.result()):
                if isinstance(result, str):
                    if strict:
                        raise ValueError(f"row {row} is broken: {result}")
                    failed[row] = result
                    out[row] = 0
                else:
                    out[row] = result
            if bytes_needed:
                out.flush()
            journal.write(json.dumps({"start": rows.start, "bad": failed}) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
            bad.update(failed)
            if progress is not None:
                progress(rows.stop, n)
    return bad


def _decode_rows(decode: Decode, images: ImageColumn, rows: range) -> list[Decoded]:
    return decode([images[row] for row in rows])


def _read_journal(path: Path) -> tuple[dict[int, str], set[int]]:
    """Broken rows and finished chunks; a last line that was cut off by a kill is ignored."""
    bad: dict[int, str] = {}
    done: set[int] = set()
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else ():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        done.add(entry["start"])
        bad.update({int(row): reason for row, reason in entry["bad"].items()})
    return bad, done


class _only_one:
    """Hold an exclusive lock on a folder; the system releases it even when the process is killed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"

    def __enter__(self) -> None:
        self.file = self.path.open("w")
        try:
            import fcntl

            fcntl.flock(self.file, fcntl.LOCK_EX)
        except ImportError:  # no such locks on Windows: two builders there would do the same work twice, with the same result
            pass

    def __exit__(self, *_: object) -> None:
        self.file.close()
