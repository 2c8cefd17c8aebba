"""Exact nearest neighbours: every row is compared, so nothing is missed. The oracle that faster indices are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io
from pairwright.core.features import EncoderMismatch, Features, as_tensor, check_finite
from pairwright.core.numerics import unit

BLOCK = 65_536
"""Rows compared at a time: bounds memory at queries x BLOCK floats."""


@dataclass(frozen=True)
class Hits:
    """The best rows of each query: ids (Q lists of K) and their cosine similarity, best first; equal scores keep the order of adding."""

    ids: list[list[str]]
    scores_QK: Tensor


class ExactIndex:
    """Search unit embeddings by cosine similarity, exactly: add, delete, search, save, load.

    width: D. encoder: fingerprint of the model that made the embeddings; rows and queries of another one are refused.

    >>> index = ExactIndex(2)
    >>> index.add(["east", "north"], torch.eye(2))
    >>> index.search(torch.tensor([[0.9, 0.1]]), 1).ids
    [['east']]
    """

    def __init__(self, width: int, encoder: str = "") -> None:
        self.encoder = encoder
        self.ids: list[str] = []
        self.z_ND = torch.zeros(0, width)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id_: str) -> bool:
        return id_ in set(self.ids)

    def add(self, ids: Sequence[str], z: Features | Any) -> None:
        """Append rows under new ids. An id that is present, or comes twice, is a ValueError and nothing is added."""
        z_ND = self._rows(z)
        if len(ids) != len(z_ND):
            raise ValueError(f"{len(ids)} ids for {len(z_ND)} rows")
        seen = set(self.ids)
        for i in ids:
            if i in seen:
                raise ValueError(f"the id {i!r} is in the index already: delete it first")
            seen.add(i)
        self.ids.extend(ids)
        self.z_ND = torch.cat([self.z_ND, z_ND])

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows; an id that is not there is a ValueError and nothing is removed."""
        gone = set(ids)
        unknown = gone - set(self.ids)
        if unknown:
            raise ValueError(f"the index has no {sorted(unknown)[0]!r}")
        keep = [j for j, i in enumerate(self.ids) if i not in gone]
        self.ids = [self.ids[j] for j in keep]
        self.z_ND = self.z_ND[keep]

    def search(self, queries: Features | Any, k: int) -> Hits:
        """The k nearest rows of each query (Q, D), or all of them where there are fewer."""
        if k < 1:
            raise ValueError(f"asked for the best {k} hits; ask for 1 or more")
        q_QD = self._rows(queries)
        best_QK = torch.zeros(len(q_QD), 0)
        at_QK = torch.zeros(len(q_QD), 0, dtype=torch.long)
        for start in range(0, len(self), BLOCK):
            scores = torch.cat([best_QK, q_QD @ self.z_ND[start : start + BLOCK].T], dim=1)
            place = torch.arange(start, min(start + BLOCK, len(self))).expand(len(q_QD), -1)
            best_QK, chosen = first_best(scores, k)
            at_QK = torch.cat([at_QK, place], dim=1).gather(1, chosen)
        return Hits([[self.ids[j] for j in row] for row in at_QK.tolist()], best_QK)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; a kill in the middle of it leaves the old file whole."""
        io.save_tensors(path, {"z": self.z_ND}, {"kind": "exact_index", "ids": self.ids, "encoder": self.encoder})

    @classmethod
    def load(cls, path: str | Path) -> ExactIndex:
        tensors, meta = io.load_tensors(path, kind="exact_index")
        z_ND, ids = tensors["z"], meta["ids"]
        if z_ND.ndim != 2 or len(ids) != len(z_ND):
            raise ValueError(
                f"{path} is damaged: {len(ids)} ids for an array of shape {tuple(z_ND.shape)}. Delete it and build the index again"
            )
        index = cls(z_ND.shape[1], meta["encoder"])
        index.add(ids, z_ND)
        return index

    def _rows(self, z: Features | Any) -> Tensor:
        if isinstance(z, Features) and z.encoder and self.encoder and z.encoder != self.encoder:
            raise EncoderMismatch(
                f"this index holds embeddings of the model {self.encoder}, these are of {z.encoder}: embed both with one model"
            )
        z_ND = as_tensor(z)
        if z_ND.ndim != 2 or z_ND.shape[1] != self.z_ND.shape[1]:
            raise ValueError(f"expected rows of width {self.z_ND.shape[1]}, got an array of shape {tuple(z_ND.shape)}")
        check_finite(z_ND)
        return unit(z_ND)


def first_best(scores_QN: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, descending; among equal scores the leftmost come first (torch.topk leaves that open)."""
    k = min(k, scores_QN.shape[1])
    least_Q = scores_QN.topk(k, dim=1).values[:, -1]
    chosen = []
    for row, least in zip(scores_QN, least_Q, strict=True):
        candidates = (row >= least).nonzero().squeeze(1)
        order = row[candidates].sort(descending=True, stable=True).indices[:k]
        chosen.append(candidates[order])
    index_QK = torch.stack(chosen) if chosen else torch.zeros(0, k, dtype=torch.long)
    return scores_QN.gather(1, index_QK), index_QK
