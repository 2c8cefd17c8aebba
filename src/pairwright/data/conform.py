"""Bring any table with images and texts to the pairs format: find the columns, name and type them, merge the captions of one image."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pairwright.data.pairs import BOX, COLUMNS

_NAMES = {
    "id": ("id", "key", "__key__", "uid", "image_id"),
    "image": (
        "image",
        "path",
        "filepath",
        "file_path",
        "file_name",
        "filename",
        "image_path",
        "img_path",
        "image_file",
        "img",
        "file",
        *("jpg", "jpeg", "png", "webp"),
    ),
    "caption": ("captions", "caption", "title", "text", "txt", "sentence", "description", "alt", "alt_text"),
    "label": ("label", "class", "category"),
}
"""Names that are looked for, in this order and whatever their case."""


def conform(
    raw: pa.Table,
    *,
    image: str | None = None,
    caption: str | Sequence[str] | None = None,
    id: str | None = None,
    label: str | None = None,
    root: str | os.PathLike[str] | None = None,
    source: str = "",
) -> pa.Table:
    """A table of any shape -> the pairs format.

    image, caption, id, label: the column(s) to use where the usual names do not fit; several caption columns are joined. root: where
    relative paths start. Where there is no id, the path names the row, and rows with the same path become one with all their captions.
    """
    take = _Columns(raw, source)
    image_name = take.one("image", image)
    if image_name is None:
        hint = ": pictures named only by URL have to be downloaded first (e.g. with img2dataset)" if _url_column(raw) else ""
        raise ValueError(
            f"no image column in {source or 'the table'}; it has {', '.join(raw.column_names) or 'no columns'}{hint}. Name it with image=…"
        )
    new = _image(raw.column(image_name), root)
    if image_name == "image" and "path" in raw.column_names and "path" not in new:
        new["path"] = _paths(raw.column("path").cast(pa.string()), root)
        take.used.add("path")
    captions = take.captions(caption)
    if captions is not None:
        new["captions"] = captions
    label_name = take.one("label", label)
    if label_name is not None:
        new["label"] = raw.column(label_name).cast(pa.string())
    id_name = take.one("id", id)
    ids = raw.column(id_name).cast(pa.string()) if id_name is not None else _ids_from(new, root, len(raw))
    rest = {name: _typed(name, raw.column(name)) for name in raw.column_names if name not in take.used and name not in new and name != "id"}
    table = pa.table({"id": ids, **new, **rest})
    return _merge(table) if id_name is None else table


class _Columns:
    """Finds columns by role and remembers which were used."""

    def __init__(self, raw: pa.Table, source: str) -> None:
        self.raw, self.source, self.used = raw, source or "the table", set[str]()
        self._by_lower = {name.lower(): name for name in reversed(raw.column_names)}

    def one(self, role: str, wanted: str | None) -> str | None:
        if wanted is not None and wanted not in self.raw.column_names:
            raise ValueError(f"{self.source} has no column {wanted!r}; it has {', '.join(self.raw.column_names)}")
        name = wanted or next((self._by_lower[n] for n in _NAMES[role] if n in self._by_lower), None)
        if name is not None:
            self.used.add(name)
        return name

    def captions(self, wanted: str | Sequence[str] | None) -> pa.Array | None:
        if wanted is None:
            name = self.one("caption", None)
            names = [] if name is None else [name]
        else:
            names = [self.one("caption", name) for name in ([wanted] if isinstance(wanted, str) else wanted)]
        lists = [[as_captions(v) for v in self.raw.column(name).to_pylist()] for name in names]
        if not lists:
            return None
        return pa.array([[c for part in parts for c in part] for parts in zip(*lists)], COLUMNS["captions"])


def as_captions(value: Any) -> list[str]:
    """One caption, a list of them, or a JSON list in a string -> list of captions; nothing -> []."""
    if value is None:
        return []
    if isinstance(value, str):
        if value.startswith("[") and value.rstrip().endswith("]"):
            try:
                inner = json.loads(value)
            except json.JSONDecodeError:
                inner = None
            if isinstance(inner, list) and all(isinstance(v, str) for v in inner):
                return inner
        return [value] if value else []
    if isinstance(value, (list, tuple)):
        return [str(v) for v in value if v is not None]
    return [str(value)]


def _image(column: pa.ChunkedArray, root: str | os.PathLike[str] | None) -> dict[str, pa.ChunkedArray]:
    """The image column as bytes and/or path."""
    kind = column.type
    if pa.types.is_struct(kind) and {"bytes", "path"} <= {f.name for f in kind}:
        return {
            "image": pc.struct_field(column, "bytes").cast(pa.large_binary()),
            "path": _paths(pc.struct_field(column, "path").cast(pa.string()), root),
        }
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return {"image": column.cast(pa.large_binary())}
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return {"path": _paths(column.cast(pa.string()), root)}
    raise ValueError(
        f"the image column has type {kind}: expected encoded bytes, paths, or the struct of bytes and path that Hugging Face uses"
    )


def _paths(column: pa.ChunkedArray, root: str | os.PathLike[str] | None) -> pa.ChunkedArray:
    if root is None:
        return column
    base = Path(root).absolute()
    return pa.chunked_array([pa.array([None if p is None else str(base / p) for p in column.to_pylist()], pa.string())])


def _ids_from(new: dict[str, Any], root: str | os.PathLike[str] | None, n: int) -> pa.Array:
    """Ids from paths (relative to root where that is known), else row numbers."""
    if "image" in new or "path" not in new:
        return pa.array([f"{i:09d}" for i in range(n)], pa.string())
    paths = new["path"].to_pylist()
    base = None if root is None else str(Path(root).absolute()) + os.sep
    return pa.array(
        [f"{i:09d}" if p is None else p.removeprefix(base or "").replace(os.sep, "/") for i, p in enumerate(paths)], pa.string()
    )


def _typed(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """A column of the pairs format in its type; any other as it is."""
    if name == "boxes":
        return pa.array([as_boxes(v) for v in column.to_pylist()], COLUMNS["boxes"])
    if name not in COLUMNS or column.type == COLUMNS[name]:
        return column
    if name == "lang":
        return pa.array([None if v is None else as_captions(v) for v in column.to_pylist()], COLUMNS["lang"])
    try:
        return column.cast(COLUMNS[name])
    except pa.ArrowInvalid as e:
        raise ValueError(f"column {name!r} cannot be read as {COLUMNS[name]}: {e}") from None


def as_boxes(value: Any) -> list[dict[str, Any]] | None:
    """Boxes as dicts, as [x0, y0, x1, y1] or as a JSON string of either -> list of dicts."""
    if value is None or value == "":
        return None
    value = json.loads(value) if isinstance(value, str) else value
    keys = [f.name for f in BOX]
    return [{k: b.get(k) for k in keys} if isinstance(b, dict) else dict(zip(keys, [*b, None] if len(b) == 4 else b)) for b in value]


def _merge(table: pa.Table) -> pa.Table:
    """Rows of the same id -> one row with all their captions and languages; other columns from the first."""
    ids = table.column("id").to_pylist()
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        rows_of.setdefault(name, []).append(row)
    if len(rows_of) == len(ids):
        return table
    merged = table.take(pa.array([rows[0] for rows in rows_of.values()]))
    for name in {"captions", "lang"} & set(table.column_names):
        lists = table.column(name).to_pylist()
        joined = [[v for row in rows for v in lists[row] or ()] for rows in rows_of.values()]
        merged = merged.set_column(merged.column_names.index(name), name, pa.array(joined, COLUMNS[name]))
    return merged


def _url_column(raw: pa.Table) -> bool:
    return any(name.lower() in ("url", "image_url", "img_url") for name in raw.column_names)
