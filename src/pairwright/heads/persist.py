"""Save and load fitted heads: one safetensors file with JSON metadata, nothing pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairwright.core.fitted import Shelf

_HEADS = Shelf("head", "heads", "logits")


def save_head(head: Any, path: str | Path) -> None:
    """Write a fitted head (atomically). Its settings are JSON, its learned tensors safetensors; `load_head` gives back the exact same.

    Raises ValueError for heads that are not defined in pairwright.heads, and for learned values that are neither tensors nor JSON.
    """
    _HEADS.save(head, path)


def load_head(path: str | Path) -> Any:
    """Read a head that `save_head` wrote, ready for `logits`. Raises ValueError for any other file."""
    return _HEADS.load(path)
