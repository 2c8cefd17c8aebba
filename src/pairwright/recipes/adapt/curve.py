"""The learning curve of the chosen classifier, and what more labels would buy, by a power law with a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import numpy_rng
from pairwright.evaluate.intervals import bootstrap, mean
from pairwright.evaluate.shots import k_shot
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.committee import Member
from pairwright.recipes.adapt.kinds import Kind, OneOf
from pairwright.recipes.adapt.nested import Made


@dataclass(frozen=True)
class Point:
    """Share of right answers after so many labels a class, with its 95% interval. ahead: extrapolated, not measured."""

    labels: float
    value: float
    low: float
    high: float
    ahead: bool = False


def learning_curve(made: Made, train: Features, text: ClassText, group_N: Sequence[int], seed: int, clock: Clock) -> list[Point]:
    """Points at 1, 2, 4 … labels a class and at all, asked on folds that were not learned from, then two extrapolated ones.

    The members of the committee are fitted again on the fewer labels, with the settings that were chosen on all of them. Empty where
    nothing could be measured, or for several classes an image.
    """
    search, kind = made.search, made.search.kind
    if not isinstance(kind, OneOf) or not made.rows_N.any():
        return []
    y_N, fold_N = train.y_N, search.fold_N
    share = 1 - 1 / len(search.folds)
    most = float(np.median([int((y_N == c).sum()) for c in y_N.unique()])) * share
    asked_N = made.rows_N
    groups_M = np.asarray(group_N)[asked_N.numpy()]
    rights, at = [], []
    k, slowest = 1, 0.0
    while k < 0.75 * most:
        right_N = torch.full((len(train),), torch.nan, dtype=torch.float64)
        for fold in sorted(set(fold_N[asked_N].tolist())):
            if not clock.holds(slowest):
                break
            began = clock.spent
            held_N = fold_N == fold
            pool = (~held_N).nonzero().squeeze(1)
            some = pool[k_shot(y_N[pool].tolist(), [train.ids[i] for i in pool.tolist()], k, seed)]
            right_N[held_N] = _right(made, train.rows(some), text, train.rows(held_N), kind)
            slowest = max(slowest, clock.spent - began)
        if torch.isnan(right_N[asked_N]).any():
            break
        rights.append(right_N[asked_N].numpy())
        at.append(float(k))
        k *= 2
    c = made.committee
    full = kind.right(kind.probabilities(c.slope * made.scores_NC[asked_N] + c.shift), y_N[asked_N])
    rights.append(full.numpy())
    at.append(max(most, 1.0))
    points = []
    for labels, right_M in zip(at, rights, strict=True):
        e = bootstrap(mean(right_M), groups_M)
        points.append(Point(labels, e.value, e.value if e.low is None else e.low, e.value if e.high is None else e.high))
    return points + extrapolate(at, rights, groups_M)


def extrapolate(at: Sequence[float], rights: Sequence[np.ndarray], group_M: np.ndarray, draws: int = 300) -> list[Point]:
    """Twice and four times the labels: error = a labels^-c, fitted to log error over log labels, refitted on draws of the groups.

    Needs three measured points; the exponent is not let below 0, since more labels do not hurt. The band holds the luck of the rows
    that were asked, not the doubt whether the law goes on.
    """
    if len(at) < 3:
        return []
    x_K = np.log(at)
    code_M = np.unique(group_M, return_inverse=True)[1].ravel()
    size = code_M.max() + 1
    w_RM = numpy_rng("extrapolate", size).multinomial(size, np.full(size, 1 / size), size=draws)[:, code_M].astype(float)
    w_RM = np.concatenate([np.ones((1, len(code_M))), w_RM])
    error_RK = np.stack([1 - (w_RM @ r) / w_RM.sum(1).clip(1) for r in rights], 1).clip(0.5 / len(code_M))
    log_RK = np.log(error_RK)
    centred_K = x_K - x_K.mean()
    slope_R = np.minimum((log_RK * centred_K).sum(1) / (centred_K**2).sum(), 0.0)
    points = []
    for times in (2, 4):
        # anchored at the last measured point, so that the line goes on where the measured one ends
        value_R = 1 - np.exp(log_RK[:, -1] + slope_R * np.log(times))
        low, high = np.quantile(value_R[1:], [0.025, 0.975])
        points.append(Point(at[-1] * times, float(value_R[0]), float(low), float(high), ahead=True))
    return points


def _right(made: Made, some: Features, text: ClassText, held: Features, kind: Kind) -> torch.Tensor:
    members = [Member(m.id, m.label, c.fit(some, text), m.slope, m.shift) for m, c in zip(made.committee.members, made.chosen, strict=True)]
    votes = torch.stack([m.vote(held.z_ND, kind) for m in members]).mean(0)
    return kind.right(kind.probabilities(votes), held.y_N)
