"""Cached embeddings: `Features` (rows with ids, labels, the encoder they came from) and `ClassText` (class embeddings and prompts)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pairwright.core import io
from pairwright.core.numerics import unit


class EncoderMismatch(ValueError):
    """Features of two different encoders were mixed."""


def as_tensor(x: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    """numpy array, list, tensor or Features -> tensor (no copy where none is needed)."""
    if isinstance(x, Features):
        x = x.z_ND
    if isinstance(x, np.ndarray):
        x = torch.from_numpy(np.ascontiguousarray(x))
    return torch.as_tensor(x).to(dtype)


@dataclass(frozen=True)
class Features:
    """N unit rows from one encoder.

    z_ND: float32 unit rows. y_N: int64 labels, or (N, C) 0/1 for multi-label, or None. ids: one string per row. encoder: fingerprint of
    the model that made them ("" when unknown). split: where they come from ("train", "val", "test" or ""). tokens_NMD: optional patch
    tokens. side: features of the same rows from a second encoder, by name. classes: label names. precision: what computed the rows, such
    as ``torch-fp32`` ("" when unknown): the rows of one encoder may be mixed whatever their precision.
    """

    z_ND: Tensor
    y_N: Tensor | None = None
    ids: tuple[str, ...] = ()
    encoder: str = ""
    split: str = ""
    tokens_NMD: Tensor | None = None
    side: Mapping[str, Tensor] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    precision: str = ""

    def __post_init__(self) -> None:
        z = as_tensor(self.z_ND)
        if z.ndim != 2:
            raise ValueError(f"features are a matrix of shape (rows, width), got {tuple(z.shape)}: use z[None] for a single row")
        object.__setattr__(self, "z_ND", z)
        if self.y_N is not None:
            y = as_tensor(self.y_N, torch.int64)
            if y.shape[0] != z.shape[0]:
                raise ValueError(f"{z.shape[0]} feature rows but {y.shape[0]} labels")
            object.__setattr__(self, "y_N", y)
        ids = tuple(str(i) for i in self.ids) or tuple(str(i) for i in range(z.shape[0]))
        if len(ids) != z.shape[0]:
            raise ValueError(f"{z.shape[0]} feature rows but {len(ids)} ids")
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def z(self) -> Tensor:
        """The unit rows, (N, D) float32."""
        return self.z_ND

    @property
    def y(self) -> Tensor | None:
        return self.y_N

    def __len__(self) -> int:
        return self.z_ND.shape[0]

    @classmethod
    def of(cls, z: Any, y: Any = None, **more: Any) -> Features:
        """Build from raw rows of any length: normalises, and refuses NaN, infinities and zero rows with the row number."""
        z_ND = as_tensor(z)
        check_finite(z_ND)
        return cls(unit(z_ND), y, **more)

    def rows(self, index: Tensor | Sequence[int] | slice) -> Features:
        """A subset (or reordering) of the rows."""
        if isinstance(index, slice):
            index = range(*index.indices(len(self)))
        i = torch.as_tensor(list(index) if not isinstance(index, Tensor) else index)
        i = i.nonzero().squeeze(1) if i.dtype == torch.bool else i.long()
        pick = lambda t: None if t is None else t[i]
        return replace(
            self,
            z_ND=self.z_ND[i],
            y_N=pick(self.y_N),
            ids=tuple(self.ids[j] for j in i.tolist()),
            tokens_NMD=pick(self.tokens_NMD),
            side={k: v[i] for k, v in self.side.items()},
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file (atomically)."""
        tensors = {"z": self.z_ND, **{f"side.{k}": v for k, v in self.side.items()}}
        if self.y_N is not None:
            tensors["y"] = self.y_N
        if self.tokens_NMD is not None:
            tensors["tokens"] = self.tokens_NMD
        meta = {"kind": "features", "ids": list(self.ids), "encoder": self.encoder, "split": self.split, "classes": list(self.classes)}
        io.save_tensors(path, tensors, {**meta, "precision": self.precision})

    @classmethod
    def load(cls, path: str | Path) -> Features:
        tensors, meta = io.load_tensors(path, kind="features")
        side = {k.removeprefix("side."): v for k, v in tensors.items() if k.startswith("side.")}
        return cls(
            tensors["z"],
            tensors.get("y"),
            tuple(meta["ids"]),
            meta["encoder"],
            meta["split"],
            tensors.get("tokens"),
            side,
            tuple(meta["classes"]),
            meta.get("precision", ""),
        )


@dataclass(frozen=True)
class ClassText:
    """Text of C classes: W_CD unit class embeddings, prompts_CPD the single prompts (padded rows are zero), negated_CKD optional
    negative prompts, names, and the fingerprint of the encoder."""

    W_CD: Tensor
    names: tuple[str, ...] = ()
    prompts_CPD: Tensor | None = None
    negated_CKD: Tensor | None = None
    encoder: str = ""
    scale: float = 100.0
    """The model's logit scale, exp(log-temperature): logits = scale * cosine."""

    def __post_init__(self) -> None:
        W = as_tensor(self.W_CD)
        if W.ndim != 2:
            raise ValueError(f"class text is a matrix of shape (classes, width), got {tuple(W.shape)}")
        object.__setattr__(self, "W_CD", W)
        names = tuple(self.names) or tuple(str(i) for i in range(W.shape[0]))
        if len(names) != W.shape[0]:
            raise ValueError(f"{W.shape[0]} class embeddings but {len(names)} names")
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        return self.W_CD.shape[0]

    def classes(self, index: Tensor | Sequence[int]) -> ClassText:
        """A subset (or reordering) of the classes."""
        i = torch.as_tensor(index).long()
        pick = lambda t: None if t is None else t[i]
        return replace(
            self,
            W_CD=self.W_CD[i],
            names=tuple(self.names[j] for j in i.tolist()),
            prompts_CPD=pick(self.prompts_CPD),
            negated_CKD=pick(self.negated_CKD),
        )


def check_finite(z_ND: Tensor) -> None:
    """Raise with the number of the first bad row if any value is not finite or any row is zero."""
    bad = ~torch.isfinite(z_ND).all(dim=-1) | (z_ND.abs().sum(-1) == 0)
    if bad.any():
        rows = bad.nonzero().squeeze(-1)
        raise ValueError(
            f"{len(rows)} of {len(z_ND)} feature rows hold NaN, infinities or only zeros (first: row {int(rows[0])}): "
            "drop them, or embed those items again"
        )


def check_same_encoder(*parts: Features | ClassText | None) -> None:
    """Raise unless all parts come from the same encoder (unknown fingerprints are trusted) and have the same width."""
    known = [p for p in parts if p is not None]
    prints = {p.encoder for p in known if p.encoder}
    if len(prints) > 1:
        raise EncoderMismatch(f"features of different encoders cannot be mixed: {sorted(prints)}. Embed all of them with one model.")
    widths = {(p.z_ND if isinstance(p, Features) else p.W_CD).shape[1] for p in known}
    if len(widths) > 1:
        raise EncoderMismatch(f"features of different widths cannot be mixed: {sorted(widths)}. Embed all of them with one model.")
