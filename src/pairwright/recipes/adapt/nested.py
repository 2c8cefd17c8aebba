"""Nested cross-validation: the figure of the whole procedure, choice included, on rows that no choice has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.committee import Committee, elect, on_trust, seat
from pairwright.recipes.adapt.folds import deal, fold_count
from pairwright.recipes.adapt.kinds import AnyOf, Kind, OneOf, best_thresholds
from pairwright.recipes.adapt.portfolio import ZERO_SHOT, Candidate, unseen
from pairwright.recipes.adapt.search import Progress, Search


@dataclass(frozen=True)
class Plan:
    """How a classifier is chosen: candidates, which of them may be taken (None: all), seed, and the precision that class thresholds
    reach (None: the best F1)."""

    candidates: Sequence[Candidate]
    kind: Kind
    only: Sequence[str] | None = None
    seed: int = 0
    precision: float | None = None


@dataclass
class Made:
    """One run of the procedure. scores_NC: of the held-out rows rows_N, before the last calibration. chosen: the candidates of the
    committee, in the order of its members."""

    committee: Committee
    search: Search
    scores_NC: Tensor
    rows_N: Tensor
    chosen: Sequence[Candidate] = ()


def start(plan: Plan, train: Features, text: ClassText, group_N: Sequence[int]) -> Search:
    """The search over folds of these rows, not yet run."""
    folds = fold_count(plan.kind.strata(train.y_N), group_N)
    return Search(plan.candidates, train, text, dealt(plan.kind, train.y_N, group_N, folds, plan.seed), plan.kind)


def dealt(kind: Kind, y: Tensor, group_N: Sequence[int], folds: int, seed: int) -> np.ndarray:
    """The fold of each row. With any number of classes an image, a row whose rarest class is its own is asked all the same."""
    return deal(kind.strata(y), group_N, folds, seed, singles=isinstance(kind, AnyOf) and len(set(group_N)) > 1)


def finish(plan: Plan, search: Search, group_N: Sequence[int]) -> Made:
    """The committee of what a search (finished or not) has found, fitted on all of its rows."""
    train, text = search.train, search.text
    chosen = elect(search, search.best(only=plan.only), group_N)
    if not any(t.folds for t in chosen):  # nothing could be held out, or there was no time
        taken = [c for c in plan.candidates if c.id in (plan.only or ())][:1]
        if not taken and not search.folds and len(plan.candidates) > 1 and isinstance(plan.kind, OneOf):
            taken = unseen()
        taken = taken or [c for c in plan.candidates if c.id == ZERO_SHOT]
        none_N = torch.zeros(len(train), dtype=torch.bool)
        empty = torch.full((len(train), len(text)), torch.nan, dtype=torch.float64)
        return Made(on_trust(taken, train, text, plan.kind), search, empty, none_N, taken)
    committee, scores_NC, rows_N = seat(search, chosen, train, text)
    committee = with_thresholds(plan, committee, scores_NC[rows_N], train.y_N[rows_N])
    return Made(committee, search, scores_NC, rows_N, [t.candidate for t in chosen])


def with_thresholds(plan: Plan, committee: Committee, scores_MC: Tensor, y: Tensor) -> Committee:
    """The committee, for any number of classes with thresholds from held-out scores."""
    if not isinstance(plan.kind, AnyOf):
        return committee
    probs = plan.kind.probabilities(committee.slope * scores_MC + committee.shift)
    new = best_thresholds(probs, y, plan.precision)
    return Committee(committee.members, committee.kind, committee.slope, committee.shift, committee.threshold, new)


@dataclass
class Outer:
    """Answers of classifiers that were chosen without the rows they answer. scores_NC and probs_NC are NaN where a row was not asked;
    right_N is the value of each answer; folds says which of how many were done. chosen: what was taken each time."""

    scores_NC: Tensor
    probs_NC: Tensor
    right_N: Tensor
    rows_N: Tensor
    total: int
    folds: list[int] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.total > 0 and len(self.folds) == self.total


def empty_outer(n: int, classes: int, total: int) -> Outer:
    nan = lambda *shape: torch.full(shape, torch.nan, dtype=torch.float64)
    return Outer(nan(n, classes), nan(n, classes), nan(n), torch.zeros(n, dtype=torch.bool), total)


def nested(
    plan: Plan, train: Features, text: ClassText, group_N: Sequence[int], outer_N: np.ndarray, clock: Clock, out: Outer,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Run the whole procedure without each outer fold, and ask it that fold. Fills `out`, fold by fold, so that an interrupt loses one."""
    folds, after = sorted(set(outer_N.tolist()) - {-1}), 0.0  # seconds that a fold takes beyond its search
    for i, fold in enumerate(folds):
        if not clock.holds(after):
            return
        asked_N = torch.from_numpy(outer_N == fold)
        known = train.rows(~asked_N)
        groups = [g for g, asked in zip(group_N, asked_N.tolist(), strict=True) if not asked]
        mine = Clock(max(0.0, clock.left / (len(folds) - i) - after), clock.now)
        search = start(plan, known, text, groups).run(mine)
        clock.cut |= mine.cut
        searched = clock.spent
        made = finish(plan, search, groups)
        out.scores_NC[asked_N] = made.committee.scores(train.z_ND[asked_N])
        out.probs_NC[asked_N] = made.committee.probabilities(train.z_ND[asked_N])
        out.right_N[asked_N] = plan.kind.right(out.probs_NC[asked_N], train.y_N[asked_N], made.committee.thresholds_C)
        out.rows_N |= asked_N
        out.folds.append(fold)
        out.chosen.append(" + ".join(c.label for c in made.chosen))
        after = max(after, clock.spent - searched)
        if progress is not None:
            progress(i + 1, len(folds))
