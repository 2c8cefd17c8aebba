"""Tuned weights in a bundle: a model folder in the hub layout whose every file is listed with its size and hash, and nothing else in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairwright.core import io
from pairwright.models.load import save

MODEL = "model"
"""The folder's name in the bundle."""
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}\.(json|txt|model|safetensors)")
"""What a file of the folder is called: weights as safetensors, descriptions and tokenizers; no program, no pickle, no path."""
_NEEDED = ("open_clip_model.safetensors", "open_clip_config.json")
_MOST_FILES, _MOST_TEXT, _MOST_WEIGHTS = 20, 100_000_000, 40_000_000_000


def save_weights(model: Any, bundle: Path) -> dict[str, Any]:
    """Write the model into the bundle -> its files as the description lists them: name -> bytes and sha256."""
    folder = save(model, bundle / MODEL)
    return {p.name: {"bytes": p.stat().st_size, "sha256": io.hash_file(p)} for p in sorted(folder.iterdir())}


def check_weights(bundle: Path, files: Any) -> Path:
    """The model folder of a bundle. ValueError unless it holds exactly the listed files, unchanged, as plain files of a decent size."""
    folder = bundle / MODEL
    if not isinstance(files, Mapping) or not 0 < len(files) <= _MOST_FILES or not all(name in files for name in _NEEDED):
        raise ValueError(f"{bundle}: the tuned weights are listed as {', '.join(_NEEDED)} and a tokenizer, and nothing like that is listed")
    if folder.is_symlink() or not folder.is_dir():
        raise ValueError(f"{folder} is missing, or a link to elsewhere: refused")
    inside = sorted(p.name for p in folder.iterdir())
    if foreign := sorted(set(inside) ^ set(files)):
        raise ValueError(f"{folder}: {foreign[0]} is {'not listed' if foreign[0] in inside else 'missing'}: refused")
    for name, told in files.items():
        path = folder / name
        if not FILE.fullmatch(name):
            raise ValueError(f"{folder}: {name!r} is not the name of a file of a model: refused")
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"{path} is missing, or a link to elsewhere: refused")
        if path.stat().st_size > (_MOST_WEIGHTS if path.suffix == ".safetensors" else _MOST_TEXT):
            raise ValueError(f"{path} is larger than any file of a model: refused")
        if path.stat().st_size != told["bytes"] or io.hash_file(path) != told["sha256"]:
            raise ValueError(f"{path} has changed since the bundle was written: make the bundle again")
    return folder
