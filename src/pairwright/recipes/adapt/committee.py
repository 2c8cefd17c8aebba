"""A committee: the mean of the calibrated answers of a few heads, then one temperature, and a threshold below which it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features
from pairwright.recipes.adapt.kinds import AnyOf, Kind, OneOf
from pairwright.recipes.adapt.portfolio import Candidate
from pairwright.recipes.adapt.search import Search, Trial, finite

SEATS = 4
"""Most members. Chosen with the rule of `elect` on simulated regimes (bench/adapt.py), seeds 100 to 104: 0.3 points behind the best single
candidate in hindsight, where the best three together were 0.5, the best alone 1.5, and three within one standard error 0.8."""


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


@dataclass(frozen=True)
class Call:
    """What a trial says of the rows that all were asked, calibrated: a vote (M, C), and the merit (M,) of each."""

    trial: Trial
    slope: float
    shift: float
    vote_MC: Tensor
    merit_M: Tensor


def calls(search: Search, trials: Sequence[Trial]) -> tuple[list[Call], Tensor]:
    """The calls of trials on the rows (N,) that all of them were asked and had not learned from."""
    rows_N = search.rows(set.intersection(*(t.folds for t in trials)))
    y, kind, found = search.train.y_N[rows_N], search.kind, []
    for t in trials:
        slope, shift = kind.calibrate(t.logits_NC[rows_N], y)
        logits_MC = slope * t.logits_NC[rows_N] + shift
        found.append(Call(t, slope, shift, kind.vote(logits_MC), kind.each(logits_MC, y)))
    return found, rows_N


def elect(search: Search, ranked: Sequence[Trial], group_N: Sequence[int]) -> list[Trial]:
    """The trials that answer together: the best, and up to SEATS - 1 more, each the one that adds most to the merit of the mean vote.

    Only those stand that the held-out rows do not tell from the best: less than two standard errors behind it, row by row, copies counting
    as one. A clear winner thus sits alone, and is not diluted.
    """
    if not ranked or not ranked[0].folds:
        return list(ranked[:1])
    made, rows_N = calls(search, ranked)
    y, kind = search.train.y_N[rows_N], search.kind
    groups_M = [g for g, r in zip(group_N, rows_N.tolist(), strict=True) if r]

    def worth(members: Sequence[Call]) -> float:
        votes_MC = torch.stack([m.vote_MC for m in members]).mean(0)
        slope, shift = kind.calibrate(votes_MC, y)
        return kind.merit(slope * votes_MC + shift, y)

    taken, rest = made[:1], [c for c in made[1:] if _near(made[0].merit_M - c.merit_M, groups_M)]
    value = worth(taken)
    while rest and len(taken) < SEATS:
        with_one = [worth([*taken, c]) for c in rest]
        best = max(range(len(rest)), key=lambda i: with_one[i])  # the first, which is the better alone, among equals
        if with_one[best] < value:
            break
        value, taken = with_one[best], [*taken, rest.pop(best)]
    return [c.trial for c in taken]


def _near(behind_M: Tensor, group_M: Sequence[int]) -> bool:
    """Whether a mean is below twice its standard error, rows of a group counting together."""
    code_M = np.unique(np.asarray(group_M), return_inverse=True)[1].ravel()
    apart_G = np.bincount(code_M, weights=(behind_M - behind_M.mean()).numpy())
    error = float(np.sqrt((apart_G**2).sum() * len(apart_G) / max(len(apart_G) - 1, 1))) / len(behind_M)
    return float(behind_M.mean()) <= 2 * error


def seat(search: Search, chosen: Sequence[Trial], train: Features, text: ClassText) -> tuple[Committee, Tensor, Tensor]:
    """Fit the chosen candidates on all rows -> (committee, scores (N, C) of the rows that were held out, which rows (N,) those are)."""
    made, rows_N = calls(search, chosen)
    members = [Member(c.trial.candidate.id, c.trial.candidate.label, c.trial.candidate.fit(train, text), c.slope, c.shift) for c in made]
    scores_NC = torch.full((len(train), len(text)), torch.nan, dtype=torch.float64)
    scores_NC[rows_N] = torch.stack([c.vote_MC for c in made]).mean(0)
    slope, shift = search.kind.calibrate(scores_NC[rows_N], search.train.y_N[rows_N])
    return Committee(members, search.kind, slope, shift, thresholds_C=even(text, search.kind)), scores_NC, rows_N


def on_trust(candidates: Sequence[Candidate], train: Features, text: ClassText, kind: Kind) -> Committee:
    """Candidates that nothing could be measured about, as they are."""
    members = [Member(c.id, c.label, c.fit(train, text)) for c in candidates]
    return Committee(members, kind, thresholds_C=even(text, kind))


def even(text: ClassText, kind: Kind) -> Tensor | None:
    """Thresholds before any are fitted: none for one class an image, one half for any number."""
    return torch.full((len(text),), 0.5, dtype=torch.float64) if isinstance(kind, AnyOf) else None


def describe(committee: Committee) -> str:
    """``GDA, 3 x the rule's weight + LFA + CLAP``."""
    return " + ".join(m.label for m in committee.members)
