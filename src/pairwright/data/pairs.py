"""The pairs format: the columns of a table of images and texts, their types, and the check that a table keeps to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pairwright.data.hashing import family

BOX = pa.struct([*(pa.field(side, pa.float32()) for side in ("x0", "y0", "x1", "y1")), pa.field("label", pa.string())])
COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "image": pa.large_binary(),
    "path": pa.string(),
    "captions": pa.list_(pa.string()),
    "lang": pa.list_(pa.string()),
    "weight": pa.float32(),
    "group": pa.string(),
    "label": pa.string(),
    "boxes": pa.list_(BOX),
    "split": pa.string(),
    "source": pa.string(),
}
"""`id` is unique. A row has its encoded `image` or the `path` of its file. `lang` names the language of each caption. Rows of one `group`
show or mean the same thing. `boxes` are in pixels. All but `id` and the image may be absent; other columns pass through unchanged."""

LONG_CAPTION = 10_000
_SKIPPED = b"pairwright.skipped"
_SHOWN = 5


@dataclass(frozen=True)
class Remark:
    """Something about a table that is allowed but worth knowing: what, in how many rows, and the first ids."""

    what: str
    rows: int
    ids: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what}: {self.rows} rows ({', '.join(self.ids)}{', …' if self.rows > len(self.ids) else ''})"


def validate(table: pa.Table) -> tuple[Remark, ...]:
    """Check a table against the pairs format.

    Raises ValueError for what would break later: missing or ill-typed columns, null or repeated ids, weights that are negative or not
    finite, another number of languages than captions. Returns remarks on what is merely suspicious: rows without image or caption,
    captions of 10,000 characters and more, boxes inside out.
    """
    _check_types(table)
    ids = table.column("id")
    if ids.null_count:
        raise ValueError(f"{ids.null_count} rows have no id: every row needs one")
    counts = pc.value_counts(ids)
    twice = pc.filter(pc.struct_field(counts, "values"), pc.greater(pc.struct_field(counts, "counts"), 1))
    if len(twice):
        raise ValueError(
            f"{len(twice)} ids repeat, e.g. {twice[:_SHOWN].to_pylist()}: ids must be unique (merge the captions of one image)"
        )
    remarks = [_no_image(table)]
    if "weight" in table.column_names:
        weight = pc.fill_null(table.column("weight"), 1.0).to_numpy()
        bad = np.flatnonzero(~np.isfinite(weight) | (weight < 0))
        if len(bad):
            raise ValueError(
                f"{len(bad)} weights are negative or not finite, e.g. in row {ids[int(bad[0])].as_py()!r}: use 0 to leave a row out"
            )
    if "captions" in table.column_names:
        remarks += _look_at_captions(table)
    if "boxes" in table.column_names:
        inside_out = [any(b["x1"] <= b["x0"] or b["y1"] <= b["y0"] for b in row or ()) for row in table.column("boxes").to_pylist()]
        remarks.append(_remark(table, "boxes without area", inside_out))
    return tuple(r for r in remarks if r.rows)


def _check_types(table: pa.Table) -> None:
    names = table.column_names
    if len(set(names)) < len(names):
        raise ValueError(f"column names repeat: {names}")
    if "id" not in names or not {"image", "path"} & set(names):
        raise ValueError(f"a table of pairs needs the columns 'id' and 'image' or 'path'; this one has {', '.join(names) or 'none'}")
    for name in names:
        if name in COLUMNS and family(table.schema.field(name).type) != family(COLUMNS[name]):
            raise ValueError(
                f"column {name!r} has type {table.schema.field(name).type}, expected {COLUMNS[name]}: `read_table(table)` converts it"
            )


def _no_image(table: pa.Table) -> Remark:
    empty = np.ones(len(table), bool)
    for name in ("image", "path"):
        if name in table.column_names:
            length = pc.fill_null(pc.binary_length(table.column(name)), 0)
            empty &= length.to_numpy() == 0
    return _remark(table, "no image", empty)


def _look_at_captions(table: pa.Table) -> list[Remark]:
    captions = table.column("captions").to_pylist()
    if "lang" in table.column_names:
        for i, (texts, langs) in enumerate(zip(captions, table.column("lang").to_pylist())):
            if langs is not None and len(langs) != len(texts or ()):
                raise ValueError(
                    f"row {table.column('id')[i].as_py()!r} has {len(texts or ())} captions but {len(langs)} languages: one for each"
                )
    empty = [not any(t is not None and t.strip() for t in texts or ()) for texts in captions]
    long = [any(t is not None and len(t) >= LONG_CAPTION for t in texts or ()) for texts in captions]
    return [_remark(table, "no caption", empty), _remark(table, f"a caption of {LONG_CAPTION:,} characters or more (kept)", long)]


def _remark(table: pa.Table, what: str, flags: np.ndarray | list[bool]) -> Remark:
    rows = np.flatnonzero(np.asarray(flags, bool))
    return Remark(what, len(rows), tuple(table.column("id").take(pa.array(rows[:_SHOWN])).to_pylist()))


def note_skipped(table: pa.Table, skipped: Mapping[str, str]) -> pa.Table:
    """Remember in the table's metadata what a reader left out and why."""
    everything = {**skipped_of(table), **skipped}
    meta = {k: v for k, v in (table.schema.metadata or {}).items() if k != _SKIPPED}
    if everything:
        meta[_SKIPPED] = json.dumps(everything, ensure_ascii=False).encode()
    return table.replace_schema_metadata(meta)


def skipped_of(table: pa.Table) -> dict[str, str]:
    """What was left out when this table was read: {where: reason}."""
    return json.loads((table.schema.metadata or {}).get(_SKIPPED, b"{}"))
