"""A tuned model against the best head: tuned anew in each fold, measured on the rows left out, handed over if forced or better."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pairwright.core.features import ClassText
from pairwright.evaluate.intervals import Difference, bootstrap, compare, mean
from pairwright.evaluate.result import Number
from pairwright.models.embed import embed
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.committee import Committee, Member, even
from pairwright.recipes.adapt.folds import deal, fold_count
from pairwright.recipes.adapt.kinds import AnyOf, Kind, best_thresholds, kind_of
from pairwright.recipes.adapt.learn import FOLDS, NOTHING, SPLIT, Learned, Wish, measured, with_figures
from pairwright.recipes.adapt.nested import Made, Outer, Plan, dealt
from pairwright.recipes.adapt.search import finite
from pairwright.recipes.adapt.weights import Price, Tuner

GOOD, FEWEST = 100, 30
"""Steps below which no folds are bought, and below which nothing is tuned (fewer only where the recipe itself takes fewer)."""
SHOTS = 4
"""Labels a class, in the middle, from which tuning is tried unasked; with fewer, heads on frozen features are as good and take seconds."""
SPARE = 0.85
"""Share of the time that a schedule may fill: an estimate from a few steps is rough."""


@dataclass(frozen=True)
class Schedule:
    """How often a model is tuned, and how long. folds: 1 is one held-out split, 0 nothing held out. wanted: the recipe's steps."""

    steps: int
    folds: int
    wanted: int
    seconds: float


def schedule(price: Price, wanted: int, folds: int, seconds: float, *, forced: bool) -> Schedule | None:
    """The most folds that fit into the seconds with enough steps, then as many steps as fit; None where nothing fits.

    folds: the most that the data allow (0: no class can be on both sides). A split instead of folds is taken only for a forced method.
    """
    options = [(k, min(wanted, GOOD)) for k in range(folds, 1, -1)]
    if forced:
        options += [(min(1, folds), min(wanted, FEWEST))]
    for k, least in options:
        fits = k + 1  # and one on all rows, which is handed over
        steps = min(wanted, int((SPARE * seconds / fits - price.fit) / price.step))
        if steps >= least:
            return Schedule(steps, k, wanted, price.of(fits, steps))
    return None


def most_folds(tuner: Tuner, group_N: Sequence[int]) -> int:
    kind = kind_of(tuner.train.y_N)
    k = fold_count(kind.strata(tuner.train.y_N), group_N)
    return k if (dealt(kind, tuner.train.y_N, group_N, k, tuner.seed) >= 0).any() else 0


@dataclass
class Tuned:
    """What became of tuning. rows_N: which rows were asked of models tuned without them; right_N: the value of those answers; heads: the
    best heads on the same rows, gain: over them. model: what is handed over, if it is."""

    id: str
    name: str
    schedule: Schedule
    rows_N: Tensor
    right_N: Tensor
    heads: Number | None = None
    value: Number | None = None
    gain: Difference | None = None
    taken: bool = False
    late: bool = False
    folds: int = 0
    seconds: float = 0.0
    model: Any = None

    @property
    def label(self) -> str:
        return f"{self.name}, {self.schedule.steps} steps"

    def to_json(self) -> dict[str, Any]:
        plain = lambda x: None if x is None else {k: v if v is None or isinstance(v, int) else float(v) for k, v in asdict(x).items()}
        figures = {k: plain(getattr(self, k)) for k in ("value", "heads", "gain")}
        more = {
            "folds": self.folds,
            "folds_planned": self.schedule.folds,
            "steps": self.schedule.steps,
            "steps_of_recipe": self.schedule.wanted,
            "taken": self.taken,
        }
        return {"id": self.id, "label": self.label, **more, **figures, "asked": int(self.rows_N.sum()), "seconds": self.seconds}


def tune(
    tuner: Tuner, plan: Schedule, learned: Learned, text: ClassText, group_N: Sequence[int], sources: Sequence[Any], wish: Wish,
    clock: Clock, *, forced: bool, progress: Callable[[int, int], None] | None = None,
) -> tuple[Learned, Tuned]:  # fmt: skip
    """Tune, measure, and decide -> (what is handed over: `learned` as it was or the tuned classifier, what became of tuning)."""
    train, y, kind, start = tuner.train, tuner.train.y_N, kind_of(tuner.train.y_N), time.perf_counter()
    labels = kind.strata(y)
    count = plan.folds if plan.folds > 1 else fold_count(labels, group_N)
    fold_N = torch.from_numpy(dealt(kind, y, group_N, count, tuner.seed))
    folds = sorted(set(fold_N.tolist()) - {-1})[: plan.folds]
    logits_NC = torch.full((len(train), len(text)), torch.nan)
    rows_N, done, slowest = torch.zeros(len(train), dtype=torch.bool), 0, 0.0
    for fold in folds:
        if done and clock.left < 2 * slowest:  # this one and the last, on all rows
            break
        began, asked_N = clock.spent, fold_N == fold
        model, head = tuner.fit((~asked_N).nonzero().squeeze(1).tolist(), plan.steps)
        z = embed(model, images=[sources[i] for i in asked_N.nonzero().squeeze(1).tolist()], skip_bad=False)
        logits_NC[asked_N] = finite(head.logits(z))
        rows_N |= asked_N
        done, slowest = done + 1, max(slowest, clock.spent - began)
        if progress is not None:
            progress(done, len(folds) + 1)
    # with one split, two halves of it calibrate each other
    part_N = fold_N if done > 1 else torch.from_numpy(deal(labels, group_N, 2, tuner.seed + 1, singles=True))
    out = Tuned(tuner.way.id, tuner.name, plan, rows_N, torch.full((len(train),), torch.nan).double(), folds=done)
    probs_NC = _crossed(kind, wish, logits_NC, y, part_N, rows_N, out.right_N)
    _compare(out, learned, group_N)
    better = out.gain is not None and out.gain.low is not None and out.gain.low > 0
    out.late = better and not forced and not clock.holds(slowest)
    out.taken = forced or (better and not out.late)
    after = learned
    if out.taken:
        out.model, head = tuner.fit(list(range(len(train))), plan.steps)
        slope, shift, scores_NC = _votes(kind, logits_NC, y, rows_N)
        committee = Committee([Member(tuner.way.id, out.label, head, slope, shift)], kind, thresholds_C=even(text, kind))
        made = Made(committee, learned.search, scores_NC, rows_N)
        outer = Outer(scores_NC, probs_NC, out.right_N, rows_N, done, list(range(done)), [out.label] * done)
        after = measured(made, outer, Plan((), kind, None, wish.seed, wish.precision), train, text, wish)
        after.protocol = NOTHING if done == 0 else FOLDS if done > 1 else SPLIT
        after.cut = learned.cut or plan.steps < plan.wanted or done < len(folds)
        after.seconds = {**learned.seconds, "total": clock.spent}
        with_figures(after, train, text, group_N, wish)
        if out.heads is not None:
            after.metrics = {**after.metrics, f"best_heads_{'f1' if y.ndim == 2 else 'accuracy'}": out.heads}
    if progress is not None:
        progress(len(folds) + 1, len(folds) + 1)
    out.seconds = time.perf_counter() - start
    after.notes[:0] = _say(out)
    return after, out


def _votes(kind: Kind, logits_NC: Tensor, y: Tensor, rows_N: Tensor) -> tuple[float, float, Tensor]:
    """Slope and shift of the scores, and the votes (N, C) that the calibrated scores give; as for a committee of one."""
    votes_NC = torch.full(logits_NC.shape, torch.nan, dtype=torch.float64)
    if not rows_N.any():
        return 1.0, 0.0, votes_NC
    slope, shift = kind.calibrate(logits_NC[rows_N], y[rows_N])
    known_N = ~torch.isnan(logits_NC).any(1)
    votes_NC[known_N] = kind.vote(slope * logits_NC[known_N] + shift)
    return slope, shift, votes_NC


def _crossed(kind: Kind, wish: Wish, logits_NC: Tensor, y: Tensor, part_N: Tensor, rows_N: Tensor, right_N: Tensor) -> Tensor:
    """Probabilities (N, C) of the asked rows, and in `right_N` what they are worth: those of each part calibrated on the other parts."""
    probs_NC = torch.full(logits_NC.shape, torch.nan, dtype=torch.float64)
    for part in sorted(set(part_N[rows_N].tolist())):
        mine_N, others_N = rows_N & (part_N == part), rows_N & (part_N != part)
        base_N = others_N if others_N.any() else mine_N
        _, _, votes_NC = _votes(kind, logits_NC, y, base_N)
        slope, shift = kind.calibrate(votes_NC[base_N], y[base_N])
        all_NC = kind.probabilities(slope * votes_NC + shift)
        cuts_C = best_thresholds(all_NC[base_N], y[base_N], wish.precision) if isinstance(kind, AnyOf) else None
        probs_NC[mine_N] = all_NC[mine_N]
        right_N[mine_N] = kind.right(all_NC[mine_N], y[mine_N], cuts_C)
    return probs_NC


def _compare(out: Tuned, learned: Learned, group_N: Sequence[int]) -> None:
    """Fill in the figures of both on the rows that both were asked."""
    number = lambda e: Number(e.value, e.low, e.high, e.n, e.groups)
    pick = lambda rows_N: [g for g, r in zip(group_N, rows_N.tolist(), strict=True) if r]
    if out.rows_N.any():
        out.value = number(bootstrap(mean(out.right_N[out.rows_N]), pick(out.rows_N)))
    both_N = out.rows_N & learned.rows_N
    if both_N.any():
        out.heads = number(bootstrap(mean(learned.right_N[both_N]), pick(both_N)))
        out.gain = compare(learned.right_N[both_N], out.right_N[both_N], pick(both_N))


def _say(out: Tuned) -> list[str]:
    plan, n = out.schedule, int(out.rows_N.sum())
    how = {0: "could not be measured", 1: f"was measured on one held-out split of {n} images (the budget held no folds)"}
    each = f"{out.folds} folds" if out.folds == plan.folds else f"{out.folds} of {plan.folds} folds (there was no time for the others)"
    said = f"{out.label}: it {how.get(out.folds, f'was tuned anew in each of {each}')}"
    if out.gain is not None:
        g = out.gain
        span = "" if g.low is None else f" ({100 * g.low:+.1f} … {100 * g.high:+.1f})"
        said += f"; {100 * g.value:+.1f} points over the best heads on the same images{span}"
    if out.late:
        said += ". There was no time left to tune on all images, so the model stays as it was: give more"
    elif not out.taken:
        said += f". That is not better beyond doubt, so the model stays as it was; --method {out.name} forces it"
    said = [f"{said}."]
    if plan.steps < plan.wanted:
        said.append(f"The budget held {plan.steps} of the {plan.wanted} steps that {out.name} takes: more time may make it better.")
    return said
