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
from pairwright.search.index.codes import Codes

BLOCK = 16_384
"""Rows compared at a time: bounds memory at queries x BLOCK floats, and keeps the scores of 64 queries in the cache."""
GROUP = 64
"""Neighbouring scores of which first only the largest is looked at."""
FEW = 4
"""Up to so many queries, a search costs what it costs to read the rows: then codes of a quarter of the size are read instead."""
LARGE = 65_536
"""Rows from which on codes are worth making."""


@dataclass(frozen=True)
class Hits:
    """The best rows of each query: ids (Q lists of K) and their cosine similarity, best first; equal scores keep the order of adding."""

    ids: list[list[str]]
    scores_QK: Tensor


class ExactIndex:
    """Search unit embeddings by cosine similarity, exactly: add, delete, search, save, load.

    width: D. encoder: fingerprint of the model that made the embeddings; rows and queries of another one are refused. A loaded index maps
    its file and reads what a search needs. The first search of a large index for single queries makes codes (see codes.py), which take a
    quarter of the rows' bytes; `save` keeps them.

    >>> index = ExactIndex(2)
    >>> index.add(["east", "north"], torch.eye(2))
    >>> index.search(torch.tensor([[0.9, 0.1]]), 1).ids
    [['east']]
    """

    def __init__(self, width: int, encoder: str = "") -> None:
        self.encoder = encoder
        self.ids: list[str] = []
        self.z_ND = torch.zeros(0, width)
        self.codes: Codes | None = None

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
        self.codes = None

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows; an id that is not there is a ValueError and nothing is removed."""
        gone = set(ids)
        unknown = gone - set(self.ids)
        if unknown:
            raise ValueError(f"the index has no {sorted(unknown)[0]!r}")
        keep = [j for j, i in enumerate(self.ids) if i not in gone]
        self.ids = [self.ids[j] for j in keep]
        self.z_ND = self.z_ND[keep]
        self.codes = None

    def search(self, queries: Features | Any, k: int) -> Hits:
        """The k nearest rows of each query (Q, D), or all of them where there are fewer."""
        if k < 1:
            raise ValueError(f"asked for the best {k} hits; ask for 1 or more")
        q_QD = self._rows(queries)
        if len(self) >= LARGE and 1 <= len(q_QD) <= FEW and k <= LARGE:
            found = [self._scan(q_D, k) for q_D in q_QD]
            best_QK, at_QK = (torch.stack(parts) for parts in zip(*found, strict=True))
        else:
            best_QK, at_QK = best_rows(q_QD, self.z_ND, k)
        return Hits([[self.ids[j] for j in row] for row in at_QK.tolist()], best_QK)

    def _scan(self, q_D: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if self.codes is None:
            self.codes = Codes.of(self.z_ND)
        at_C = self.codes.candidates(q_D, self.z_ND, k)
        best_1K, chosen_1K = first_best((self.z_ND[at_C] @ q_D)[None], k)
        return best_1K[0], at_C[chosen_1K[0]]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; a kill in the middle of it leaves the old file whole."""
        tensors = {"z": self.z_ND}
        if self.codes is not None:
            tensors |= {"code": self.codes.code_ND, "scale": self.codes.scale_N, "error": self.codes.error_N}
        io.save_tensors(path, tensors, {"kind": "exact_index", "ids": self.ids, "encoder": self.encoder})

    @classmethod
    def load(cls, path: str | Path) -> ExactIndex:
        tensors, meta = io.load_tensors(path, kind="exact_index")
        z_ND, ids = tensors["z"], meta["ids"]
        if z_ND.ndim != 2 or len(ids) != len(z_ND) or len(set(ids)) != len(ids):
            raise ValueError(
                f"{path} is damaged: {len(ids)} ids for an array of shape {tuple(z_ND.shape)}. Delete it and build the index again"
            )
        index = cls(z_ND.shape[1], meta["encoder"])
        index.ids, index.z_ND = list(ids), z_ND
        if "code" in tensors:
            index.codes = Codes(tensors["code"], tensors["scale"], tensors["error"])
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
    if k == 0:
        return scores_QN[:, :0], torch.zeros(len(scores_QN), 0, dtype=torch.long)
    least_Q = scores_QN.topk(k, dim=1).values[:, -1]
    chosen = []
    for row, least in zip(scores_QN, least_Q, strict=True):
        candidates = (row >= least).nonzero().squeeze(1)
        order = row[candidates].sort(descending=True, stable=True).indices[:k]
        chosen.append(candidates[order])
    index_QK = torch.stack(chosen) if chosen else torch.zeros(0, k, dtype=torch.long)
    return scores_QN.gather(1, index_QK), index_QK


def best_rows(q_QD: Tensor, z_ND: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k rows of z with the largest dot products with each query: values (Q, K) descending and row numbers; ties in order.

    Blocked: after the first block only scores above a query's k-th best so far are looked at, and they are soon rare.
    """
    first = max(BLOCK, k)
    best_QK, at_QK = first_best(q_QD @ z_ND[:first].T, k)
    for start in range(first, len(z_ND), BLOCK):
        scores_Qb = q_QD @ z_ND[start : start + BLOCK].T
        query_H, place_H = _above(scores_Qb, best_QK[:, -1:])
        for query in query_H.unique().tolist():
            place = place_H[query_H == query]
            values, order = torch.cat([best_QK[query], scores_Qb[query, place]]).sort(descending=True, stable=True)
            at = torch.cat([at_QK[query], place + start])
            best_QK[query], at_QK[query] = values[: best_QK.shape[1]], at[order[: best_QK.shape[1]]]
    return best_QK, at_QK


def _above(scores_Qb: Tensor, limit_Q1: Tensor) -> tuple[Tensor, Tensor]:
    """Query and place of the scores above each query's limit, places ascending. Most groups are dismissed by their maximum."""
    if scores_Qb.shape[1] % GROUP:
        return (scores_Qb > limit_Q1).nonzero(as_tuple=True)
    groups_QGb = scores_Qb.view(len(scores_Qb), -1, GROUP)
    query_H, group_H = (groups_QGb.amax(-1) > limit_Q1).nonzero(as_tuple=True)
    at_H, inside_H = (groups_QGb[query_H, group_H] > limit_Q1[query_H]).nonzero(as_tuple=True)
    return query_H[at_H], group_H[at_H] * GROUP + inside_H
