"""A committee: the mean of the calibrated answers of a few heads, then one temperature, and a threshold below which it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features
from pairwright.recipes.adapt.kinds import AnyOf, Kind, OneOf
from pairwright.recipes.adapt.portfolio import Candidate
from pairwright.recipes.adapt.search import Search, Trial, finite


@dataclass(frozen=True)
class Member:
    """A fitted head and the slope and shift that calibrate its scores."""

    id: str
    label: str
    head: Any
    slope: float = 1.0
    shift: float = 0.0

    def vote(self, z_ND: Any, kind: Kind) -> Tensor:
        return kind.vote(self.slope * finite(self.head.logits(z_ND)) + self.shift)


@dataclass(frozen=True)
class Committee:
    """The classifier that `adapt` hands over. slope, shift: calibrate the mean of the members' votes. threshold: confidence below which
    an image is "none of these" (one class for each image). thresholds_C: probability from which on a class is said (any number)."""

    members: Sequence[Member]
    kind: Kind
    slope: float = 1.0
    shift: float = 0.0
    threshold: float = 0.0
    thresholds_C: Tensor | None = None

    def scores(self, z_ND: Any) -> Tensor:
        """The mean vote (N, C), before the last calibration."""
        return torch.stack([m.vote(z_ND, self.kind) for m in self.members]).mean(0)

    def probabilities(self, z_ND: Any) -> Tensor:
        """Calibrated probabilities (N, C), float64: rows sum to one, or with any number of classes each stands by itself."""
        return self.kind.probabilities(self.slope * self.scores(z_ND) + self.shift)

    def said(self, probs_NC: Tensor) -> list[list[int]]:
        """The classes of each row: one, or none below the threshold; or all above their thresholds, most probable first."""
        order_NC = probs_NC.argsort(dim=1, descending=True, stable=True)
        if isinstance(self.kind, OneOf):
            return [[c] if probs_NC[i, c] >= self.threshold else [] for i, c in enumerate(order_NC[:, 0].tolist())]
        assert self.thresholds_C is not None
        yes_NC = probs_NC >= self.thresholds_C
        return [[c for c in row if yes_NC[i, c]] for i, row in enumerate(order_NC.tolist())]


def seat(search: Search, chosen: Sequence[Trial], train: Features, text: ClassText) -> tuple[Committee, Tensor, Tensor]:
    """Fit the chosen candidates on all rows -> (committee, scores (N, C) of the rows that were held out, which rows (N,) those are)."""
    rows_N = search.rows(set.intersection(*(t.folds for t in chosen))) if chosen[0].folds else torch.zeros(len(train), dtype=torch.bool)
    y, kind = search.train.y_N, search.kind
    members, votes = [], []
    for t in chosen:
        slope, shift = kind.calibrate(t.logits_NC[rows_N], y[rows_N]) if rows_N.any() else (1.0, 0.0)
        members.append(Member(t.candidate.id, t.candidate.label, t.candidate.fit(train, text), slope, shift))
        votes.append(kind.vote(slope * t.logits_NC[rows_N] + shift))
    scores_NC = torch.full((len(train), len(text)), torch.nan, dtype=torch.float64)
    scores_NC[rows_N] = torch.stack(votes).mean(0)
    slope, shift = kind.calibrate(scores_NC[rows_N], y[rows_N]) if rows_N.any() else (1.0, 0.0)
    return Committee(members, kind, slope, shift, thresholds_C=_even(text, kind)), scores_NC, rows_N


def on_trust(candidates: Sequence[Candidate], train: Features, text: ClassText, kind: Kind) -> Committee:
    """Candidates that nothing could be measured about, as they are."""
    members = [Member(c.id, c.label, c.fit(train, text)) for c in candidates]
    return Committee(members, kind, thresholds_C=_even(text, kind))


def _even(text: ClassText, kind: Kind) -> Tensor | None:
    return torch.full((len(text),), 0.5, dtype=torch.float64) if isinstance(kind, AnyOf) else None


def describe(committee: Committee) -> str:
    """``GDA, 3 x the rule's weight + LFA + CLAP``."""
    return " + ".join(m.label for m in committee.members)
