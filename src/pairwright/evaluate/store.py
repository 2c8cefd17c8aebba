"""Features that are computed once: a cache keyed by the model's fingerprint and each item's own bytes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core.features import Features

Embed = Callable[[list[Any]], Tensor]


class FeatureStore:
    """Embeddings of one model by content: an item that any suite has asked before is not embedded again.

    fingerprint: of the model (weights and preprocessing). folder: where to keep them (None: in memory only). One safetensors file per
    shelf (a pack, or ``texts``), written whole and renamed, so a kill leaves the old file.
    """

    def __init__(self, fingerprint: str, folder: Path | None) -> None:
        self.fingerprint = fingerprint
        self.folder = None if folder is None else folder / fingerprint
        self.embedded = 0
        self.reused = 0
        self._shelves: dict[str, dict[str, Tensor]] = {}

    def get(self, shelf: str, items: Sequence[bytes | str], embed: Embed) -> Tensor:
        """Unit rows (N, D) for `items`, in order; `embed` is called once, with those that are not there yet."""
        if not items:
            raise ValueError("nothing to embed: the list of items is empty")
        have = self._open(shelf)
        keys = [hashlib.blake2b(x.encode() if isinstance(x, str) else x, digest_size=12).hexdigest() for x in items]
        new = {key: item for key, item in zip(keys, items, strict=True) if key not in have}
        if new:
            z_ND = embed(list(new.values())).detach().float().cpu()
            have.update(zip(new, z_ND, strict=True))
            self._save(shelf)
        self.embedded += len(new)
        self.reused += len(items) - len(new)
        return torch.stack([have[key] for key in keys])

    def _open(self, shelf: str) -> dict[str, Tensor]:
        if shelf not in self._shelves:
            path = None if self.folder is None else self.folder / f"{shelf}.safetensors"
            self._shelves[shelf] = {}
            if path is not None and path.is_file():
                with contextlib.suppress(ValueError):  # a damaged file is written anew
                    found = Features.load(path)
                    self._shelves[shelf] = dict(zip(found.ids, found.z_ND, strict=True))
        return self._shelves[shelf]

    def _save(self, shelf: str) -> None:
        if self.folder is not None:
            have = self._shelves[shelf]
            Features(torch.stack(list(have.values())), ids=tuple(have), encoder=self.fingerprint).save(self.folder / f"{shelf}.safetensors")
