"""What the towers hand to everything else: `Encoded`, `Views` and the row block `Pairs` that a loss sees.

Shape legend (used as suffixes of tensor names throughout the project):
B pairs in the global batch, b local rows, N cached rows, C classes, P prompts per class, L text tokens, M patch tokens, T frames,
R regions, Q queries, D joint width, E encoder width, S models, V vocabulary, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from pairwright.core.numerics import full


@dataclass(frozen=True)
class Encoded:
    """A batch of encoded items of one modality.

    z_BD: unit-length joint embeddings. norm_B: their length before normalisation. tokens_BMD: patch or word tokens in the joint
    space, only if asked for; mask_BM is True where a token is real; grid is (h, w) of patch tokens. taps: activations of the layers
    that were asked for, by name (``"image@7"``). aux: whatever a tower's own losses need (router logits, log-variances).
    """

    z_BD: Tensor
    norm_B: Tensor | None = None
    tokens_BMD: Tensor | None = None
    mask_BM: Tensor | None = None
    grid: tuple[int, int] | None = None
    taps: Mapping[str, Tensor] = field(default_factory=dict)
    aux: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.z_BD.shape[0]

    def map(self, f: Callable[[Tensor], Tensor]) -> Encoded:
        """Apply `f` to every tensor, keeping the structure."""
        new: dict[str, Any] = {}
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, Tensor):
                new[spec.name] = f(value)
            elif isinstance(value, Mapping):
                new[spec.name] = {k: f(v) for k, v in value.items()}
            else:
                new[spec.name] = value
        return Encoded(**new)

    def rows(self, index: slice | Tensor) -> Encoded:
        """The same encoding restricted to some rows."""
        return self.map(lambda t: t[index])

    def detach(self) -> Encoded:
        return self.map(Tensor.detach)

    def with_z(self, z_BD: Tensor) -> Encoded:
        return replace(self, z_BD=z_BD)

    @staticmethod
    def of(x_BD: Tensor, **more: Any) -> Encoded:
        """Normalise raw outputs (any float dtype) to unit rows in float32 (float64 stays) and remember their length."""
        x_BD = full(x_BD)
        norm_B = x_BD.norm(dim=-1)
        return Encoded(x_BD / norm_B.clamp_min(1e-12).unsqueeze(-1), norm_B, **more)

    @staticmethod
    def cat(parts: list[Encoded]) -> Encoded:
        """Join batches of the same structure along the rows."""
        first = parts[0]
        new: dict[str, Any] = {}
        for spec in fields(first):
            value = getattr(first, spec.name)
            if isinstance(value, Tensor):
                new[spec.name] = torch.cat([getattr(p, spec.name) for p in parts])
            elif isinstance(value, Mapping):
                new[spec.name] = {k: torch.cat([getattr(p, spec.name)[k] for p in parts]) for k in value}
            else:
                new[spec.name] = value
        return Encoded(**new)


class Views(Mapping[str, Encoded]):
    """The named views of one step: ``image text audio … teacher.* ema.* frozen.* twin.* hard_text hard_image caption region
    image.masked fused class_text adv.image``, plus what says which rows belong together.

    group_B: int64 ids; rows of the same group are positives of each other (the same caption, concept or thing). None: row i of one
    view matches row i of the other and nothing else. sample_B: int64 sample ids, the only thing random draws inside a loss are keyed
    by. present: for each view that not every row has, a bool mask over rows. extra: any other per-row tensors a Derived view made.
    """

    def __init__(
        self,
        views: Mapping[str, Encoded],
        *,
        group_B: Tensor | None = None,
        sample_B: Tensor | None = None,
        present: Mapping[str, Tensor] | None = None,
        extra: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._views = dict(views)
        self.group_B = group_B
        self.sample_B = sample_B
        self.present = dict(present or {})
        self.extra = dict(extra or {})

    def __getitem__(self, name: str) -> Encoded:
        try:
            return self._views[name]
        except KeyError:
            raise KeyError(
                f"this step made the views {sorted(self._views)}, but the objective reads {name!r}: list it in `needs`"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def replace(self, **views: Encoded) -> Views:
        """The same step with some views exchanged or added."""
        return Views({**self._views, **views}, group_B=self.group_B, sample_B=self.sample_B, present=self.present, extra=self.extra)

    def positives(self, rows: slice = slice(None)) -> Tensor:
        """bool (b, B): True where row and column belong to the same group; the diagonal when no groups are given."""
        if self.group_B is not None:
            return self.group_B[rows, None] == self.group_B[None, :]
        n = len(next(iter(self._views.values())))
        return torch.eye(n, dtype=torch.bool, device=next(iter(self._views.values())).z_BD.device)[rows]


@dataclass(frozen=True)
class Pairs:
    """A block of rows against all columns: everything a row-separable loss may look at.

    q: b encoded rows; k: all B encoded columns; logits_bB: scaled (and biased) similarities; positives_bB: bool, at least one True in
    each row that counts; allowed_bB: bool, False where a column is neither positive nor negative (None: all allowed); weight_bB: how
    strongly a column counts as a negative (None: 1); row_b: index of each row in the batch.
    """

    q: Encoded
    k: Encoded
    logits_bB: Tensor
    positives_bB: Tensor
    allowed_bB: Tensor | None = None
    weight_bB: Tensor | None = None
    row_b: Tensor | None = None
