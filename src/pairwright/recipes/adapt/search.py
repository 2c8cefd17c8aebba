"""Successive halving over methods and settings: all on half of the folds, the better half of them on the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.kinds import Kind
from pairwright.recipes.adapt.portfolio import ZERO_SHOT, Candidate

KEPT = 4
"""How many go on from the first folds at least."""
Progress = Callable[[int, int], None]


@dataclass
class Trial:
    """What became of one candidate. logits_NC: its scores of rows that it had not learned from (NaN where it was not asked). state: one
    of waiting, dropped (after the first folds), finished, failed, no time."""

    candidate: Candidate
    logits_NC: Tensor
    folds: set[int] = field(default_factory=set)
    seconds: float = 0.0
    state: str = "waiting"
    why: str = ""
    merit: float = -math.inf
    train_merit: list[float] = field(default_factory=list)
    """Share of right answers on the rows that it learned from, for each fold."""


class Search:
    """Tries candidates on the folds of labelled features. fold_N: -1 is always learned from. Read `trials` at any time, even if `run` was
    interrupted; `best` says what to take."""

    def __init__(self, candidates: Sequence[Candidate], train: Features, text: ClassText, fold_N: np.ndarray, kind: Kind) -> None:
        self.train, self.text, self.kind = train, text, kind
        self.fold_N = torch.from_numpy(np.asarray(fold_N))
        self.folds = sorted(set(self.fold_N.tolist()) - {-1})
        empty = lambda: torch.full((len(train), len(text)), torch.nan)
        self.trials = [Trial(c, empty()) for c in candidates]

    def run(self, clock: Clock, progress: Progress | None = None) -> Search:
        """Ask all candidates on the first half of the folds, the better half of them (zero-shot always) on the rest."""
        half = math.ceil(len(self.folds) / 2)
        first, rest = self.folds[:half], self.folds[half:]
        done, total = 0, len(self.trials) * len(first) + (len(self.trials) // 2 + 1) * len(rest)
        for folds, survivors in ((first, len(self.trials)), (rest, max(KEPT, len(self.trials) // 2) + 1)):
            for trial in self._leading(survivors):
                for fold in folds:
                    if trial.state != "waiting":
                        break
                    self._ask(trial, fold, clock)
                    done += 1
                    if progress is not None:
                        progress(min(done, total), total)
        for trial in self.trials:
            if trial.state == "waiting":
                trial.state = "finished" if trial.folds == set(self.folds) else "dropped"
        return self

    def best(self, only: Sequence[str] | None = None) -> list[Trial]:
        """The trials that were asked most rows, all the same, best first. only: ids that may be taken."""
        free = [t for t in self.trials if t.folds and t.state != "failed" and (only is None or t.candidate.id in only)]
        if not free:
            return [t for t in self.trials if t.candidate.id == ZERO_SHOT][:1]
        full = max(len(t.folds) for t in free if t.candidate.id != ZERO_SHOT or len(free) == 1)
        shared = [t for t in free if len(t.folds) >= full]
        rows = self.rows(set.intersection(*(t.folds for t in shared)))
        return sorted(shared, key=lambda t: -self._merit(t, rows))  # a stable sort: the cheaper comes first among equals

    def rows(self, folds: set[int]) -> Tensor:
        """Which rows (N,) belong to some folds."""
        return torch.isin(self.fold_N, torch.tensor(sorted(folds), dtype=torch.int64))

    def _leading(self, most: int) -> list[Trial]:
        """The trials that go on: the first of the ranking, in the order of their cost."""
        asked = [t for t in self.trials if t.state == "waiting" and t.folds]
        if not asked:
            return [t for t in self.trials if t.state == "waiting"]
        for t in asked:
            t.merit = self._merit(t, self.rows(t.folds))
        ahead = sorted((t for t in asked if t.candidate.id != ZERO_SHOT), key=lambda t: -t.merit)[: most - 1]
        return [t for t in asked if t in ahead or t.candidate.id == ZERO_SHOT]

    def _merit(self, trial: Trial, rows_N: Tensor) -> float:
        logits_MC, y_M = trial.logits_NC[rows_N], self.train.y_N[rows_N]
        a, b = self.kind.calibrate(logits_MC, y_M)
        return self.kind.merit(a * logits_MC.clamp_min(-1e6) + b, y_M)

    def _ask(self, trial: Trial, fold: int, clock: Clock) -> None:
        """Fit on all other folds and score the rows of this one."""
        if trial.candidate.id != ZERO_SHOT and not clock.holds(self._price(trial)):
            trial.state = "no time"
            return
        asked_N, start = self.fold_N == fold, clock.now()
        known = self.train.rows(~asked_N)
        try:
            head = trial.candidate.fit(known, self.text)
            trial.logits_NC[asked_N] = finite(head.logits(self.train.z_ND[asked_N]))
            trial.train_merit.append(float(self.kind.right(self.kind.probabilities(head.logits(known.z_ND)), known.y_N).mean()))
        except (ValueError, RuntimeError) as e:  # RuntimeError: a factorisation that failed
            trial.state, trial.why = "failed", " ".join(str(e).split())[:200]
            return
        trial.folds.add(fold)
        trial.seconds += clock.now() - start

    def _price(self, trial: Trial) -> float:
        """Seconds that a fold will take: as long as the last one of this candidate; before the first, as one of its method, or else at
        least as one of the cheaper ones before it."""
        if trial.folds:
            return trial.seconds / len(trial.folds)
        known = [t for t in self.trials if t.folds and (t.candidate.id == trial.candidate.id or t.candidate.slow == trial.candidate.slow)]
        known = [t for t in known if t.candidate.id == trial.candidate.id] or known
        return max((t.seconds / len(t.folds) for t in known), default=0.0)


def finite(logits_NC: Any) -> Tensor:
    """Scores as float32; -inf (a class that a head does not know) becomes a very low number; NaN is refused."""
    logits_NC = logits_NC.detach().float()
    if torch.isnan(logits_NC).any():
        raise ValueError("its scores hold NaN")
    return logits_NC.clamp(-1e4, 1e4)
