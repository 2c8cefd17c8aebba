"""Find the images in folders, globs and lists of files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"})


@dataclass(frozen=True)
class Listing:
    """Image files in a fixed order, and how many other files lay among them."""

    files: tuple[Path, ...]
    others: int = 0

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Path]:
        return iter(self.files)


def find_images(*paths: str | os.PathLike[str], suffixes: Iterable[str] = SUFFIXES) -> Listing:
    """List images: a folder gives all image files in and below it, sorted; a glob (``photos/**/*.jpg``) what it matches; a file itself.

    Hidden files and folders are left out, links to folders are not followed, no file is listed twice. A file that is named one by one is
    listed whatever its suffix. FileNotFoundError where a path is not there, ValueError where there is not one image.
    """
    if not paths:
        raise ValueError("no path was given: name a folder, a file or a glob")
    allowed = frozenset(s.lower() for s in suffixes)
    found: dict[Path, None] = {}
    others = 0
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            every = list(_walk(path))
        elif path.exists():
            found[path] = None
            continue
        elif glob.has_magic(str(given)):
            every = [Path(p) for p in sorted(glob.glob(str(path), recursive=True)) if os.path.isfile(p)]
            if not every:
                raise FileNotFoundError(f"no file matches {given}")
        else:
            raise FileNotFoundError(f"{given} does not exist")
        images = [p for p in every if p.suffix.lower() in allowed]
        found.update(dict.fromkeys(images))
        others += len(every) - len(images)
    if not found:
        where = ", ".join(str(p) for p in paths)
        what = f"only {others} other files" if others else "no files"
        raise ValueError(f"no images in {where} ({what}); known suffixes: {', '.join(sorted(allowed))}")
    return Listing(tuple(found), others)


def _walk(folder: Path) -> Iterator[Path]:
    """Every visible file below a folder, in sorted order."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        yield from (Path(here, name) for name in sorted(files) if not name.startswith("."))
