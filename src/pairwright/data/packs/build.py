"""Build a pack: fetch its archive, read it, draw its pictures, and write ``pairs.parquet`` and ``manifest.json`` into the cache."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from pairwright.core.io import atomic, cache_dir, hash_file, read_json, write_json, write_text
from pairwright.data.packs.archive import Archive
from pairwright.data.packs.catalog import Pack, pack
from pairwright.data.packs.fetch import fetch
from pairwright.data.packs.rows import Log, Row

FORMAT = 1
"""Raised when readers or rules change what a pack holds: older builds are then made again."""


def _schema() -> Any:
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    return pa.schema(
        [("id", text), ("image", pa.binary()), ("captions", texts), ("lang", texts), ("name", text), ("group", text), ("category", text),
         ("label", text), ("source", text), ("weight", pa.float32()), ("phash", pa.uint64())]
    )  # fmt: skip


def folder_of(name: str) -> Path:
    """The folder of a pack in the cache, built or not."""
    return cache_dir("packs") / pack(name).name


def is_cached(name: str) -> bool:
    """Is the pack built, by this version's rules and from the version that the catalogue names?"""
    manifest = folder_of(name) / "manifest.json"
    if not manifest.exists() or not (folder_of(name) / "pairs.parquet").exists():
        return False
    made = read_json(manifest)
    return (made.get("format"), made.get("version")) == (FORMAT, pack(name).version)


def get(name: str, *, progress: bool = True, strict: bool = False) -> Path:
    """Fetch and build a pack (or find it built) and return the path of its ``pairs.parquet``; ``manifest.json`` lies beside it.

    The first call fetches one archive with npm or apt and takes seconds to minutes; later calls need no network. A picture that cannot
    be drawn is skipped, counted and listed in the manifest; `strict` raises ValueError there, and where a checksum differs.
    """
    p = pack(name)
    with _lock(folder_of(name).with_suffix(".lock")):
        if not is_cached(name):
            for needed in p.needs:
                get(needed, progress=progress, strict=strict)
            _build(p, progress=progress, strict=strict)
    return folder_of(name) / "pairs.parquet"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One builder per pack at a time; a second one waits and then finds the pack built. The lock dies with its process."""
    with path.open("w") as f:
        with contextlib.suppress(ImportError):  # Windows: two builders do the work twice, and the rename keeps the result whole
            import fcntl

            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _reader(p: Pack) -> Callable[..., Iterator[Row]]:
    return import_module(f"pairwright.data.packs.readers.{p.reader}").read


def _build(p: Pack, *, progress: bool, strict: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tqdm import tqdm

    start = time.monotonic()
    path, checksum = fetch(p, strict=strict)
    log, count, languages, seen = Log(), 0, set[str](), set[str]()
    folder = folder_of(p.name)
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)  # a build that stops half-way must not look finished
    for left in folder.glob(".*.tmp"):  # of a build that was killed; the lock says that nobody else is at work here
        left.unlink()
    schema, batch = _schema(), []
    with atomic(folder / "pairs.parquet") as tmp:
        with pq.ParquetWriter(tmp, schema, compression="zstd") as out:
            rows = _reader(p)(p, Archive(path), log, lambda name: pq.read_table(get(name, progress=progress)))
            for row, png, phash in tqdm(_drawn(rows, log), desc=p.name, unit="row", disable=not progress, leave=False):
                if row.key in seen:
                    log.skip(row.key, "the id exists already")
                    continue
                seen.add(row.key)
                count += 1
                languages.update(lang for lang, _ in row.captions)
                batch.append(_record(p, row, png, phash))
                if len(batch) == 2000:
                    out.write_table(pa.Table.from_pylist(batch, schema=schema))
                    batch = []
            out.write_table(pa.Table.from_pylist(batch, schema=schema))
        if strict and log.skipped:
            file, reason = log.skipped[0]
            raise ValueError(f"{p.name}: {len(log.skipped)} files were skipped, the first is {file} ({reason})")
        if not count:
            raise ValueError(f"{p.name}: no row could be read from {path}; delete it and fetch it again")
    _keep_licence(path, folder)
    write_json(
        folder / "manifest.json",
        {
            "format": FORMAT,
            "name": p.name,
            "package": p.package,
            "version": p.version,
            "archive_sha256": checksum,
            "pinned": checksum == p.sha256,
            "table_sha256": hash_file(folder / "pairs.parquet"),
            "licence": p.licence,
            "attribution": p.attribution,
            "show": p.show,
            "rows": count,
            "languages": sorted(languages),
            "caption_rules": dict(log.rules.most_common()),
            "skipped": [{"file": f, "reason": r} for f, r in log.skipped],
            "seconds": round(time.monotonic() - start, 1),
        },
    )


def _keep_licence(archive: Path, folder: Path) -> None:
    """Put the archive's own licence text beside the table (icon packages carry none: the catalogue names theirs)."""
    names = ("LICENSE", "LICENSE.md", "LICENSE.txt", "copyright")
    texts = [data.decode("utf-8", errors="replace") for _, data in Archive(archive).files(lambda p: p.rsplit("/", 1)[-1] in names)]
    if texts:
        write_text(folder / "LICENSE.txt", "\n".join(texts))


def _drawn(rows: Iterator[Row], log: Log) -> Iterator[tuple[Row, bytes | None, int | None]]:
    """Rows with their drawn picture; a row that cannot be drawn goes to the log, a text row passes."""
    from pairwright.data.packs.render import draw_all

    queue: deque[Row] = deque()
    first = next(rows, None)
    if first is None:
        return
    if first.data is None:
        yield first, None, None
        yield from ((row, None, None) for row in rows)
        return

    def feed() -> Iterator[tuple[bytes, bool]]:
        for row in chain((first,), rows):
            queue.append(row)
            yield row.data or b"", row.trim

    for picture in draw_all(feed(), processes=min(2, os.cpu_count() or 1)):
        row = queue.popleft()
        if picture.fault:
            log.skip(row.key, picture.fault)
        else:
            yield row, picture.png, picture.phash


def _record(p: Pack, row: Row, png: bytes | None, phash: int | None) -> dict[str, Any]:
    return {
        "id": f"{p.name}/{row.key}",
        "image": png,
        "captions": [text for _, text in row.captions],
        "lang": [lang for lang, _ in row.captions],
        "name": row.name,
        "group": row.group,
        "category": row.category,
        "label": row.label,
        "source": p.name,
        "weight": row.weight,
        "phash": phash,
    }
