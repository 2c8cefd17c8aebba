"""Search a folder of images by words or by another image. The folder is embedded once; later only what is new or changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from pairwright.core import io
from pairwright.data.images import BadImage, Limits
from pairwright.data.listing import find_images
from pairwright.models.embed import embed
from pairwright.search.index.exact import ExactIndex

Report = Callable[[int, int], None]
_SETTLED_NS = 2_000_000_000
_NEVER = -1
"""A time stamp that no file has: the content is looked at again next time. A file that was written just before it was read gets it, since
it may be written again within the same tick of the clock."""


@dataclass(frozen=True)
class Hit:
    """One picture of a folder and its cosine similarity to the query."""

    path: Path
    score: float


@dataclass(frozen=True)
class Changes:
    """What a refresh found since the last one: relative paths. skipped: path -> reason of each unreadable image, old ones too."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    embedded: int = 0
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        parts = [f"{len(v)} {k}" for k, v in (("new", self.added), ("changed", self.changed), ("gone", self.removed)) if v]
        return ", ".join(parts) or "nothing has changed"


@dataclass(frozen=True)
class Seen:
    """A file as it was when it was embedded (or refused, with the reason)."""

    size: int
    mtime_ns: int
    sha256: str
    bad: str = ""


class FolderIndex:
    """All images below a folder, searchable in plain words.

    folder: searched with its subfolders. model: the encoder; each model has an index of its own. cache: where the embeddings are kept
    between runs (the user's cache folder by default). precision: as in `pairwright.embed`. Call `refresh` before the first search, and
    whenever the folder may have changed.

    A file counts as changed when its size or time stamp differ *and* its content does, so that copying or touching files costs no
    embedding. A moved file keeps its embedding. A file that cannot be read is remembered with the reason, and tried again when it changes.
    """

    def __init__(
        self, folder: str | os.PathLike[str], model: Any, *, cache: str | os.PathLike[str] | None = None, precision: str = "fp32"
    ) -> None:
        self.folder = Path(folder).expanduser()
        if not self.folder.exists():
            raise FileNotFoundError(f"{folder} does not exist")
        if not self.folder.is_dir():
            raise ValueError(f"{folder} is a file: name the folder to search in")
        self.model = model
        self.precision = precision
        where = hashlib.sha256(str(self.folder.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
        root = Path(cache) if cache is not None else io.cache_dir("folders")
        self.file = root / f"{where}-{model.fingerprint}.safetensors"
        self.seen: dict[str, Seen] = {}
        self.index = ExactIndex(model.width, model.fingerprint)

    def __len__(self) -> int:
        return len(self.index)

    def refresh(self, *, rebuild: bool = False, batch_size: int = 128, strict: bool = False, progress: bool | Report = False) -> Changes:
        """Bring the index up to date with the folder. rebuild: embed everything again. strict: BadImage at the first unreadable image."""
        known, rows = ({}, ExactIndex(self.model.width)) if rebuild else self._read()
        files = {p.relative_to(self.folder).as_posix(): p for p in find_images(self.folder)}
        seen = {name: self._look(path, known.get(name)) for name, path in files.items()}
        place = {known[i].sha256: j for j, i in enumerate(rows.ids)}
        reasons = {s.sha256: s.bad for s in (*known.values(), *seen.values()) if s.bad}
        new = [name for name, now in seen.items() if now.sha256 not in place and now.sha256 not in reasons]
        once = list({seen[name].sha256: name for name in reversed(new)}.values())  # copies are embedded once
        skipped: dict[str, str] = {}
        fresh = torch.zeros(0, self.model.width)
        if once:
            fresh, skipped = self._embed({str(files[name]): name for name in once}, batch_size, strict, progress)
        done = [name for name in once if name not in skipped]
        place |= {seen[name].sha256: len(rows) + j for j, name in enumerate(done)}
        reasons |= {seen[name].sha256: why for name, why in skipped.items()}
        seen = {name: Seen(s.size, s.mtime_ns, s.sha256, reasons.get(s.sha256, "")) for name, s in seen.items()}
        bad = {name: s.bad for name, s in seen.items() if s.bad}
        if bad and strict:
            first = next(iter(bad))
            raise BadImage(f"{self.folder / first}: {bad[first]}")
        good = [name for name in seen if name not in bad]
        if not good:
            raise ValueError(f"none of the {len(seen)} images in {self.folder} can be read ({next(iter(bad))}: {next(iter(bad.values()))})")
        self.index = ExactIndex(self.model.width, self.model.fingerprint)
        self.index.add(good, torch.cat([rows.z_ND, fresh])[[place[seen[name].sha256] for name in good]])
        if seen != known:
            self._write(seen)
        self.seen = seen
        return Changes(
            added=tuple(n for n in seen if n not in known),
            changed=tuple(n for n in seen if n in known and known[n].sha256 != seen[n].sha256),
            removed=tuple(n for n in known if n not in seen),
            embedded=len(once),
            skipped={str(self.folder / name): why for name, why in bad.items()},
        )

    def search_text(self, words: str, top: int = 10) -> list[Hit]:
        """The pictures that fit the words best."""
        if not words.strip():
            raise ValueError("the query is empty: say in words what to look for")
        return self._search(embed(self.model, texts=[words]), top)

    def search_image(self, image: Any, top: int = 10) -> list[Hit]:
        """The pictures that look most like an image (a path, encoded bytes or a PIL image)."""
        return self._search(embed(self.model, images=[image], skip_bad=False), top)

    def _search(self, query: Any, top: int) -> list[Hit]:
        if not self.seen:
            raise ValueError("the folder has not been read yet: call refresh() first")
        hits = self.index.search(query, top)
        return [Hit(self.folder / id_, score) for id_, score in zip(hits.ids[0], hits.scores_QK[0].tolist(), strict=True)]

    def _look(self, path: Path, before: Seen | None) -> Seen:
        """The file as it is now; its content is read only if size or time differ from what is known."""
        try:
            info = path.stat()
            if before is not None and (info.st_size, info.st_mtime_ns) == (before.size, before.mtime_ns):
                return before
            # an image over the limit is refused by its size: its content is never read
            digest = io.hash_file(path) if info.st_size <= Limits().file_bytes else f"{info.st_size} bytes, too many to read"
        except OSError as e:
            return Seen(0, _NEVER, f"{path} {e.errno}", f"cannot be opened: {e.strerror}")
        settled = info.st_mtime_ns < time.time_ns() - _SETTLED_NS
        return Seen(info.st_size, info.st_mtime_ns if settled else _NEVER, digest)

    def _embed(
        self, names: Mapping[str, str], batch_size: int, strict: bool, progress: bool | Report
    ) -> tuple[torch.Tensor, dict[str, str]]:
        """(rows in the order of `names`, name -> reason of those that cannot be read)."""
        import warnings

        skipped: dict[str, str] = {}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=r".*images were skipped")
                how = {"batch_size": batch_size, "precision": self.precision, "progress": progress}
                found = embed(self.model, images=list(names), skip_bad=not strict, skipped=skipped, **how)
        except ValueError:
            if len(skipped) < len(names):
                raise
            return torch.zeros(0, self.model.width), {names[path]: why for path, why in skipped.items()}
        return found.z_ND, {names[path]: why for path, why in skipped.items()}

    def _read(self) -> tuple[dict[str, Seen], ExactIndex]:
        """What is known from the last time; a damaged file counts as nothing, since it can be made again."""
        empty = ExactIndex(self.model.width)
        if not self.file.is_file():
            return {}, empty
        try:
            tensors, meta = io.load_tensors(self.file, kind="folder_index")
            seen = {name: Seen(**s) for name, s in meta["seen"].items()}
            empty.add([name for name, s in seen.items() if not s.bad], tensors["z"])
        except (ValueError, KeyError, TypeError):
            return {}, ExactIndex(self.model.width)
        return seen, empty

    def _write(self, seen: Mapping[str, Seen]) -> None:
        """Keep rows in the order of `seen`."""
        meta = {"kind": "folder_index", "folder": str(self.folder.resolve()), "seen": {name: asdict(s) for name, s in seen.items()}}
        io.save_tensors(self.file, {"z": self.index.z_ND}, meta)
