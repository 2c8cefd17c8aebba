"""Write a bundle: everything into a hidden folder beside it, then one rename, so that a reader never meets a half."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pairwright.core import io
from pairwright.core.provenance import commit, versions
from pairwright.heads.persist import save_head
from pairwright.recipes.adapt.page import write_report
from pairwright.recipes.adapt.run import Adapted
from pairwright.serve.bundle import FORMAT, KIND, META
from pairwright.serve.weights import FILE, MODEL, save_weights

_OURS = re.compile(r"bundle\.json|report\.(html|json)|head-\d+\.safetensors")


def check_target(folder: str | Path) -> Path:
    """Raise where a bundle cannot be written to `folder`, before any work is done.

    A folder that is not there or empty will do, and so will an older bundle, which is replaced; anything else is left alone.
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder} is not a folder: name another one with --out")
    inside = [p.name for p in folder.iterdir()] if folder.exists() else []
    if inside and META not in inside:
        raise ValueError(f"{folder} exists and is no bundle ({inside[0]} is in it): name another folder with --out")
    if foreign := [name for name in inside if not _OURS.fullmatch(name) and not (name == MODEL and _is_model(folder / name))]:
        raise ValueError(
            f"{folder} is a bundle, but {foreign[0]} in it is not part of one: move it away, or name another folder with --out"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}."):
            pass
    except OSError as e:
        raise ValueError(f"{folder} cannot be written ({e.strerror}): name another folder with --out") from None
    return folder


def save_bundle(adapted: Adapted, folder: str | Path) -> Path:
    """Write the classifier and its report; an older bundle at the same place is replaced at once. Returns the folder."""
    folder = check_target(folder)
    with _swap(folder) as new:
        members = []
        c = adapted.learned.committee
        for i, m in enumerate(c.members):
            path = new / f"head-{i}.safetensors"
            save_head(m.head, path)
            members.append(
                {"file": path.name, "sha256": io.hash_file(path), "id": m.id, "label": m.label, "slope": m.slope, "shift": m.shift}
            )
        meta: dict[str, Any] = {
            "format": FORMAT,
            "kind": KIND,
            "classes": list(adapted.problem.names),
            "multi_label": adapted.problem.multi,
            "model": {
                "name": adapted.model_name,
                "fingerprint": adapted.after,
                "width": adapted.text.W_CD.shape[1],
                "preprocess": adapted.preprocess,
            },
            "templates": adapted.templates,
            "members": members,
            "slope": c.slope,
            "shift": c.shift,
            "threshold": c.threshold,
            "risk": adapted.wish.risk if adapted.learned.promised else None,
            "thresholds": None if c.thresholds_C is None else c.thresholds_C.tolist(),
            "commit": commit(),
            "versions": versions(),
        }
        if adapted.tuned is not None and adapted.tuned.taken:
            meta["weights"] = save_weights(adapted.tuned.model, new)
        io.write_json(new / META, meta)
        write_report(adapted, new)
    return folder


def _is_model(folder: Path) -> bool:
    """Whether a folder in an older bundle holds a model and nothing else."""
    return folder.is_dir() and not folder.is_symlink() and all(p.is_file() and FILE.fullmatch(p.name) for p in folder.iterdir())


@contextlib.contextmanager
def _swap(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` in the end."""
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    new, old = work / "new", work / "old"
    new.mkdir()
    try:
        yield new
        if folder.exists():
            folder.replace(old)
        new.replace(folder)
        io.sync_folder(folder.parent)
    finally:
        if old.exists() and not folder.exists():  # the second rename failed: the older bundle goes back
            old.replace(folder)
        shutil.rmtree(work, ignore_errors=True)
