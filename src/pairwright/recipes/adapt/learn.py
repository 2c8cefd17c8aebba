"""`learn`: labelled features and class text -> the best classifier for them, with a figure that can be believed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pairwright.audit.calibrate.abstain import Abstain
from pairwright.core.features import ClassText, Features, check_finite, check_same_encoder
from pairwright.evaluate.intervals import Difference, compare
from pairwright.recipes.adapt import measure
from pairwright.recipes.adapt.clock import LEAST, Clock
from pairwright.recipes.adapt.committee import Committee
from pairwright.recipes.adapt.curve import Point, learning_curve
from pairwright.recipes.adapt.kinds import OneOf, class_counts, kind_of
from pairwright.recipes.adapt.nested import Made, Outer, Plan, empty_outer, finish, nested, start, with_thresholds
from pairwright.recipes.adapt.portfolio import ZERO_SHOT, Candidate, forced, portfolio
from pairwright.recipes.adapt.search import Search

Progress = Callable[[str, int, int], None]
NESTED, PARTLY, CHOSEN, NOTHING = "nested", "partly nested", "folds of the choice", "none"
"""Where the headline figure comes from: rows that no choice has seen, some of them, rows the choice was made on (optimistic), nowhere."""
FOLDS, SPLIT = "tuned anew in each fold", "one held-out split"
"""The same for a tuned model, which comes with one setting: all rows, or a part of them."""


@dataclass(frozen=True)
class Wish:
    """What the user asks for. method: a name to force. risk: error rate among the answers that abstention keeps, but for a chance of
    `delta`. precision: of each class, for several classes an image (None: the best F1)."""

    method: str | None = None
    seed: int = 0
    risk: float = 0.1
    delta: float = 0.1
    precision: float | None = None


@dataclass
class Learned:
    """A classifier and what is known about it.

    probs_NC, right_N, rows_N: probabilities of held-out rows, the value of each answer, and which rows those are; zero_N: the value of
    zero-shot's answers to all rows. protocol: where these come from. metrics: name -> Number. gain: over zero-shot on the same rows.
    sure_N: confidence of the held-out rows under the classifier's own calibration; promised: whether its threshold keeps the risk.
    train_right, held_right: share of right answers on rows learned from and on others (of the chosen candidates).
    """

    committee: Committee
    search: Search
    protocol: str
    probs_NC: Tensor
    right_N: Tensor
    rows_N: Tensor
    zero_N: Tensor
    sure_N: Tensor
    promised: bool = False
    metrics: dict[str, Any] = field(default_factory=dict)
    gain: Difference | None = None
    outer: Outer | None = None
    curve: list[Point] = field(default_factory=list)
    train_right: float | None = None
    held_right: float | None = None
    notes: list[str] = field(default_factory=list)
    cut: bool = False
    interrupted: bool = False
    seconds: dict[str, float] = field(default_factory=dict)


def learn(
    train: Features, text: ClassText, group_N: Sequence[int] | None = None, *, wish: Wish = Wish(), clock: Clock | None = None,
    extra: Sequence[Candidate] = (), progress: Progress | None = None,
) -> Learned:  # fmt: skip
    """Choose, fit, calibrate and measure a classifier within a time budget.

    train: features with labels (N,), or (N, C) of 0 and 1 for any number of classes an image. group_N: rows of one group (copies) are
    never on both sides of a split. clock: the budget (five minutes where None). extra: candidates that are tried
    after those of the portfolio; with a forced method, what it is instead of a head on features. An interrupt ends the search; what was
    found is kept.
    """
    if train.y_N is None:
        raise ValueError("these features have no labels (y_N=None): zero-shot needs no learning, and nothing else can be learned")
    check_finite(train.z_ND)
    check_same_encoder(train, text)
    clock, kind = clock or Clock(300.0), kind_of(train.y_N)
    multi, gaps = not isinstance(kind, OneOf), min(class_counts(train.y_N, len(text)), default=0) == 0
    group_N = list(range(len(train))) if group_N is None else list(group_N)
    if wish.method is None:
        candidates = [*portfolio(multi=multi, gaps=gaps), *extra]
    else:
        candidates = [portfolio(multi=multi)[0], *extra] if extra else forced(wish.method, multi=multi)
    only = None if wish.method is None else [candidates[-1].id]
    plan = Plan(candidates, kind, only, wish.seed, wish.precision)
    enough = clock.left >= LEAST and len(train) > 0
    if not enough:
        clock.cut |= len(train) > 0
        plan = replace(plan, candidates=portfolio(multi=multi)[:1], only=None)
    search = start(plan, train, text, group_N)
    tell = lambda what: None if progress is None else lambda done, total: progress(what, done, total)
    outer = empty_outer(len(train), len(text), len(search.folds) if enough else 0)
    curve: list[Point] = []
    made: Made | None = None
    interrupted = False
    try:
        mine = clock.part(0.4)
        search.run(mine, tell("trying methods"))
        clock.cut |= mine.cut
        chosen_at = clock.spent
        made = finish(plan, search, group_N)
        if enough and search.folds:
            first = search.fold_N.numpy()
            mine = clock.part(0.85)
            nested(plan, train, text, group_N, first, mine, outer, tell("measuring the choice"))
            clock.cut |= mine.cut or not outer.complete
            curve = learning_curve(made, train, text, group_N, wish.seed, clock)
    except KeyboardInterrupt:
        interrupted, chosen_at = True, clock.spent
    made = made or finish(plan, search, group_N)
    done = measured(made, outer, plan, train, text, wish)
    done.curve, done.interrupted, done.cut, done.outer = curve, interrupted, clock.cut, outer
    done.seconds = {"choose": chosen_at, "total": clock.spent}
    return with_figures(done, train, text, group_N, wish, enough)


def with_figures(done: Learned, train: Features, text: ClassText, group_N: Sequence[int], wish: Wish, enough: bool = True) -> Learned:
    """Fill in metrics, gain and notes. enough: whether there was time for a search."""
    done.metrics = measure.metrics(done, train, group_N)
    if done.rows_N.any():
        done.gain = compare(done.zero_N[done.rows_N], done.right_N[done.rows_N], [g for g, r in zip(group_N, done.rows_N.tolist()) if r])
    done.notes = measure.notes(done, text.names, class_counts(train.y_N, len(text)), wish, enough)
    return done


def measured(made: Made, outer: Outer, plan: Plan, train: Features, text: ClassText, wish: Wish) -> Learned:
    """The committee, calibrated on the most honest scores there are, and the answers that the figures are made of."""
    kind, y, c = plan.kind, train.y_N, made.committee
    zero = next((t for t in made.search.trials if t.candidate.id == ZERO_SHOT), None)
    zero_NC = zero.candidate.fit(train, text).logits(train.z_ND) if zero else None
    protocol, rows_N = NOTHING, torch.zeros(len(train), dtype=torch.bool)
    probs_NC, right_N = torch.full((len(train), len(text)), torch.nan, dtype=torch.float64), torch.full((len(train),), torch.nan).double()
    fitted_N, scores_NC, promised, sure_N = made.rows_N, made.scores_NC, False, torch.full((len(train),), torch.nan).double()
    if outer.folds:
        protocol, rows_N, probs_NC, right_N = NESTED if outer.complete else PARTLY, outer.rows_N, outer.probs_NC, outer.right_N
        if outer.complete:
            fitted_N, scores_NC = outer.rows_N, outer.scores_NC
    elif made.rows_N.any():
        protocol, rows_N = CHOSEN, made.rows_N
    if fitted_N.any():
        slope, shift = kind.calibrate(scores_NC[fitted_N], y[fitted_N])
        c = with_thresholds(plan, replace(c, slope=slope, shift=shift), scores_NC[fitted_N], y[fitted_N])
        held_MC = kind.probabilities(slope * scores_NC[fitted_N] + shift)
        if isinstance(kind, OneOf):
            sure_M, said_M = held_MC.max(1)
            sure_N[fitted_N] = sure_M
            bound = Abstain(wish.risk, wish.delta).fit(sure_M, said_M == y[fitted_N]).threshold_
            promised = math.isfinite(bound)
            c = replace(c, threshold=bound if promised else 0.0)  # without a promise it answers always, which the report says
        if protocol == CHOSEN:
            probs_NC[fitted_N] = held_MC
            right_N[fitted_N] = kind.right(held_MC, y[fitted_N], c.thresholds_C)
    zero_N = torch.full((len(train),), torch.nan).double()
    if zero_NC is not None and len(train):
        a, b = kind.calibrate(zero_NC, y)
        p = kind.probabilities(a * zero_NC + b)
        zero_N = kind.right(p, y, with_thresholds(plan, replace(c, slope=a, shift=b), zero_NC, y).thresholds_C)
    done = Learned(c, made.search, protocol, probs_NC, right_N, rows_N, zero_N, sure_N, promised)
    taken = [t for t in made.search.trials if t.candidate in made.chosen and t.train_merit]
    if taken and made.rows_N.any():
        done.train_right = sum(sum(t.train_merit) / len(t.train_merit) for t in taken) / len(taken)
        rate = lambda t: kind.right(kind.probabilities(t.logits_NC[made.rows_N]), y[made.rows_N]).mean()
        done.held_right = float(sum(rate(t) for t in taken) / len(taken))
    return done
