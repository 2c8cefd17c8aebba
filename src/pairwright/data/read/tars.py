"""WebDataset shards: tars in which files with the same stem make one pair. Images stay where they are and are read when they are needed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pairwright.data.conform import as_captions, conform
from pairwright.data.listing import SUFFIXES
from pairwright.data.pairs import note_skipped
from pairwright.data.read.jsonl import from_rows
from pairwright.data.tar import BadTar, members

_TEXT_BYTES = 1_000_000
_TEXT = frozenset({"txt", "text", "caption", "json", "cls"})
_IMAGE = frozenset(s[1:] for s in SUFFIXES)


def expand(pattern: str) -> list[str]:
    """``shard-{0000..0012}.tar`` -> the names it stands for."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if match is None:
        return [pattern]
    low, high = int(match[1]), int(match[2])
    if high - low >= 1_000_000:
        raise ValueError(f"{pattern} names {high - low + 1:,} shards: a million at most")
    return [
        name
        for i in range(low, high + 1)
        for name in expand(pattern[: match.start()] + str(i).zfill(len(match[1])) + pattern[match.end() :])
    ]


def read(shards: Sequence[Path], *, strict: bool = False, **names: Any) -> pa.Table:
    """Read the index of tar shards.

    Of a member's name the stem (up to the first dot of the last part) is the key, the rest its role: an image, ``.txt`` captions (one for
    each line), ``.cls`` the class, ``.json`` further columns. Other suffixes are never opened. Refused members, broken and missing shards
    are left out and listed (strict: an error). The column `path` reads ``shard.tar#OFFSET+LENGTH``.
    """
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for shard in shards:
        found: dict[str, dict[str, Any]] = {}
        try:
            with shard.open("rb") as f:
                for member in members(shard):
                    key, role = _split(member.name)
                    reason = member.refused or (role in _TEXT and member.size > _TEXT_BYTES and f"a text of {member.size:,} bytes")
                    if reason:
                        skipped[f"{shard}:{member.name[:200]}"] = reason
                    elif role in _IMAGE and member.size:
                        found.setdefault(key, {"key": key}).setdefault("path", f"{shard.absolute()}#{member.offset}+{member.size}")
                    elif role in _TEXT:
                        f.seek(member.offset)
                        problem = _add_text(found.setdefault(key, {"key": key}), role, f.read(member.size))
                        if problem:
                            skipped[f"{shard}:{member.name[:200]}"] = problem
        except (BadTar, OSError) as e:
            skipped[str(shard)] = str(e)
        for key, row in found.items():
            if "path" in row:
                rows.append(row)
            else:
                skipped.setdefault(f"{shard}:{key}", "no image beside the text")
        if strict and skipped:
            raise ValueError("{}: {}".format(*next(iter(skipped.items()))))
    if not rows:
        raise ValueError(f"no pairs in {len(shards)} shards{f'; first: {next(iter(skipped.items()))}' if skipped else ''}")
    return note_skipped(conform(from_rows(_named(rows)), source="the shards", **{"image": "path", **names}), skipped)


def _split(name: str) -> tuple[str, str]:
    folder, _, file = name.rpartition("/")
    stem, _, role = file.partition(".")
    return (f"{folder}/{stem}" if folder else stem), role.lower()


def _add_text(row: dict[str, Any], role: str, data: bytes) -> str | None:
    """Put a text member into its row; returns the problem, if there is one."""
    text = data.decode("utf-8-sig", "replace").strip()
    if role == "cls":
        row.setdefault("label", text)
    elif role != "json":
        row["txt"] = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return "not JSON"
        if not isinstance(fields, dict):
            return f"a JSON {type(fields).__name__} instead of an object"
        for name, value in fields.items():
            if name not in ("path", "image", "key"):
                row[name] = as_captions(value) if name in ("captions", "caption") else value
    return None


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each row one id and one list of captions.

    The id is the JSON's own where every row has one and none repeats, else the key; where keys repeat, since every shard may count from
    0, with the name of the shard in front. Captions from a text member count where the JSON names none.
    """
    own, keys = [row.get("id") for row in rows], [row["key"] for row in rows]
    has_ids = None not in own and len(set(map(str, own))) == len(own)
    twice = len(set(keys)) < len(keys)
    has_captions = any("captions" in row or "caption" in row for row in rows)
    for row in rows:
        key = row.pop("key")
        if not has_ids:
            row["id"] = f"{Path(row['path'].rpartition('#')[0]).stem}/{key}" if twice else key
        if has_captions or "txt" in row:
            row["captions"] = row.pop("captions", None) or row.pop("caption", None) or row.get("txt") or []
        row.pop("txt", None)
        row.pop("caption", None)
    return rows
