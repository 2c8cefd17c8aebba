"""ImageFolder: the folder of an image is its class; train, val and test folders are splits; a text file beside an image holds captions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pairwright.data.listing import find_images
from pairwright.data.pairs import COLUMNS

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"}


def read(path: Path) -> pa.Table:
    """Read a folder of images, or of class folders of images.

    ids are paths relative to the folder. label: the folder names between (``animals/cat``), absent where all images lie in the folder
    itself. captions: the lines of NAME.txt beside NAME.jpg, absent where no image has one.
    """
    files = find_images(path).files
    relative = [f.relative_to(path) for f in files]
    heads = {r.parts[0] for r in relative}
    has_splits = bool(heads) and all(h.lower() in _SPLITS for h in heads) and all(len(r.parts) > 1 for r in relative)
    table: dict[str, pa.Array] = {
        "id": pa.array([r.as_posix() for r in relative], pa.string()),
        "path": pa.array([str(f.absolute()) for f in files], pa.string()),
    }
    captions = [_sidecar(f) for f in files]
    if any(captions):
        table["captions"] = pa.array(captions, COLUMNS["captions"])
    labels = ["/".join(r.parts[1 if has_splits else 0 : -1]) for r in relative]
    if any(labels):
        table["label"] = pa.array([label or None for label in labels], pa.string())
    if has_splits:
        table["split"] = pa.array([_SPLITS[r.parts[0].lower()] for r in relative], pa.string())
    return pa.table(table)


def _sidecar(image: Path) -> list[str]:
    beside = image.with_suffix(".txt")
    if not beside.is_file() or beside.stat().st_size > 1_000_000:
        return []
    return [line.strip() for line in beside.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line.strip()]
