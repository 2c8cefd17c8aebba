"""JSON lines: one object for each image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from pairwright.data.conform import conform
from pairwright.data.pairs import COLUMNS, note_skipped


def read(path: Path, *, root: str | Path | None = None, strict: bool = False, **names: Any) -> pa.Table:
    """Read a JSON-lines file. Relative image paths start at `root`, by default the folder of the file.

    A line that is no JSON object is left out and listed (strict: an error).
    """
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    with path.open("rb") as f:
        for number, line in enumerate(f, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as e:
                skipped[f"{path.name}:{number}"] = f"not JSON ({str(e)[:100]})"
                continue
            if isinstance(row, dict):
                rows.append(row)
            else:
                skipped[f"{path.name}:{number}"] = f"a JSON {type(row).__name__} instead of an object"
    if strict and skipped:
        raise ValueError("{}: {}".format(*next(iter(skipped.items()))))
    return note_skipped(conform(from_rows(rows), root=path.parent if root is None else root, source=str(path), **names), skipped)


def from_rows(rows: list[dict[str, Any]]) -> pa.Table:
    """Dicts with any keys -> a raw table. A column of mixed types becomes text; lists of captions and boxes keep their shape."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return pa.table({key: _column(key, [row.get(key) for row in rows]) for key in keys})


def _column(key: str, values: list[Any]) -> pa.Array:
    if key == "boxes":
        return pa.array([None if v is None else json.dumps(v) for v in values], pa.string())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        if key in COLUMNS and all(v is None or isinstance(v, (str, list)) for v in values):
            return pa.array([[v] if isinstance(v, str) else v for v in values])  # one caption here, several there
        return pa.array([v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values], pa.string())
