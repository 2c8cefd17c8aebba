"""What does the user have? A folder, a table or plain images -> sources, classes and labels, and remarks in plain words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from pairwright.data.conform import as_captions
from pairwright.data.listing import SUFFIXES
from pairwright.data.table import read_table, skipped_of

_SEVERAL = ("labels", "tags", "classes", "categories")
"""Columns that hold several classes a row, where the table has them."""


@dataclass
class Problem:
    """Images with the classes that they may belong to.

    y_N: class of each image, -1 where it has no label; or y_NC of 0 and 1 for several classes an image, all -1 without labels. test_N:
    True where the data call the row a test row: it is never learned from. notes: what was found, a sentence each.
    """

    sources: list[Any]
    ids: list[str]
    names: tuple[str, ...]
    y: Tensor
    test_N: Tensor
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def multi(self) -> bool:
        return self.y.ndim == 2

    @property
    def labelled_N(self) -> Tensor:
        return (self.y if self.y.ndim == 1 else self.y.amin(1)) >= 0

    def rows(self, keep_N: Sequence[bool] | Tensor) -> Problem:
        """The same problem with some of its images."""
        at = [i for i, k in enumerate(torch.as_tensor(keep_N).tolist()) if k]
        pick = lambda values: [values[i] for i in at]
        return Problem(pick(self.sources), pick(self.ids), self.names, self.y[at], self.test_N[at], self.notes, self.skipped)


def read_problem(data: Any, labels: Sequence[str] | None = None, *, multi_label: bool = False) -> Problem:
    """Find images, classes and labels.

    data: a folder with a folder for each class, a CSV, JSONL or parquet table with paths and labels, or unlabelled images (a folder),
    for which `labels` names the classes. multi_label: a row may have any number of classes: a column of lists, or of names with ``|``,
    ``;`` or ``,`` between them. Raises ValueError, with what to do, for what cannot become a classifier.
    """
    table = read_table(data)
    if len(table) == 0:
        raise ValueError(f"{data} holds no images")
    sources, ids = list(_sources(table)), table["id"].to_pylist()
    skipped = dict(skipped_of(table))
    given = _given(table, multi_label)
    known = None if labels is None else [_plain(name) for name in labels]
    if known is not None and not any(g in known for row in given for g in row):
        given = [[] for _ in given]  # folders that merely hold the images
    raw = list(dict.fromkeys(g for row in given for g in row))
    names = tuple(known) if known is not None else tuple(sorted(raw)) + tuple(n for n in _empty_folders(data) if n not in raw)
    if unknown := [g for g in raw if g not in names]:
        near = get_close_matches(unknown[0], names, 1)
        count = sum(unknown[0] in row for row in given)
        raise ValueError(
            f"label {unknown[0]!r} ({count} images) is not among the class names that were given"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + ": add it to --labels, or leave --labels away"
        )
    if not names:
        raise ValueError(f"{data} has images but no labels, and no class names were given: name them with --labels 'cat,dog'")
    if len(names) < 2:
        raise ValueError(f"all labels are the same ({names[0]!r}): a classifier needs at least two classes")
    if multi_label and not raw:
        raise ValueError(f"several classes an image need labels to learn from, and {data} has none: label a few images of each class")
    place = {name: c for c, name in enumerate(names)}
    if multi_label:
        y = torch.full((len(ids), len(names)), -1, dtype=torch.int64)
        for i, row in enumerate(given):
            if row:
                y[i] = 0
                y[i, [place[g] for g in row]] = 1
    else:
        y = torch.tensor([place[row[0]] if row else -1 for row in given], dtype=torch.int64)
    split = table["split"].to_pylist() if "split" in table.column_names else [""] * len(ids)
    return Problem(sources, ids, names, y, torch.tensor([s == "test" for s in split]), skipped=skipped)


def _sources(table: pa.Table) -> Iterator[Any]:
    """Bytes where the table has them, else the path."""
    images = table["image"].to_pylist() if "image" in table.column_names else [None] * len(table)
    paths = table["path"].to_pylist() if "path" in table.column_names else [None] * len(table)
    for image, path in zip(images, paths, strict=True):
        yield path if image is None else image


def _given(table: pa.Table, multi_label: bool) -> list[list[str]]:
    """The labels of each row, as a person would write them."""
    column = next((c for c in (*_SEVERAL, "label") if c in table.column_names), None) if multi_label else "label"
    if column is None or column not in table.column_names:
        if not multi_label and (other := next((c for c in _SEVERAL if c in table.column_names), None)):
            raise ValueError(f"the table has no column 'label' but {other!r}: pass --multi-label if a row may have several classes")
        return [[] for _ in range(len(table))]
    values = table[column].to_pylist()
    if not multi_label:
        names = _short([None if v is None or not str(v).strip() else str(v) for v in values])
        return [[] if n is None else [n] for n in names]
    split = [[p for part in as_captions(v) for p in _parts(part)] for v in values]
    return [list(dict.fromkeys(_plain(p) for p in row)) for row in split]


def _parts(text: str) -> list[str]:
    mark = next((m for m in "|;," if m in text), None)
    return [p for p in (text.split(mark) if mark else [text]) if p.strip()]


def _plain(text: str) -> str:
    """``red_apple`` -> ``red apple``: words a text tower knows."""
    return " ".join(text.replace("_", " ").split())


def _short(values: list[str | None]) -> list[str | None]:
    """Folder paths cut to their last part, where that tells all of them apart."""
    distinct = {v for v in values if v is not None}
    last = {v: _plain(v.rpartition("/")[2]) for v in distinct}
    if len(set(last.values())) < len(distinct):
        last = {v: _plain(v.replace("/", " ")) for v in distinct}
    if len(set(last.values())) < len(distinct):
        last = {v: v for v in distinct}
    return [None if v is None else last[v] for v in values]


def _empty_folders(data: Any) -> list[str]:
    """Folders beside the class folders that hold no image: classes that are known by name alone."""
    if not isinstance(data, (str, os.PathLike)) or not Path(data).is_dir():
        return []
    folders = [f for f in sorted(Path(data).iterdir()) if f.is_dir() and not f.name.startswith((".", "__"))]
    holds = lambda f: any(p.suffix.lower() in SUFFIXES for p in f.rglob("*"))
    return [_plain(f.name) for f in folders if not holds(f)] if any(holds(f) for f in folders) else []
