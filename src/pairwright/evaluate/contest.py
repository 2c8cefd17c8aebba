"""Run methods against each other on one problem: every method, number of shots and seed, the same draws and questions for all.

A method that refuses (a ValueError with the reason) or fails is listed and does not end the comparison. With a folder each finished run is
kept, and a comparison that was killed goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from pairwright.core import io
from pairwright.core.features import Features, check_same_encoder
from pairwright.core.provenance import commit
from pairwright.evaluate.methods import Given, Method
from pairwright.evaluate.problem import Problem
from pairwright.evaluate.shots import draws
from pairwright.evaluate.trials import Notebook, Trial
from pairwright.evaluate.workers import side_by_side

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Contest:
    """What came of it: the finished trials, and for each method that did not run (or not everywhere) the reason."""

    problem: Problem
    methods: tuple[Method, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    tuned: bool
    trials: tuple[Trial, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def contest(
    problem: Problem,
    methods: Sequence[Method],
    *,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    tuned: bool = False,
    out: str | Path | None = None,
    progress: Report | None = None,
    workers: int = 1,
) -> Contest:
    """Every method on every draw. tuned: hyper-parameters are chosen on min(k, 4) further labelled rows of each class instead of being the
    validation-free defaults (for methods that can). out: folder that keeps finished runs. progress: called with (runs done, of). workers:
    processes that methods on features run in, side by side (the calling program needs an ``if __name__ == "__main__"`` then)."""
    start = time.perf_counter()
    shots, seeds = tuple(sorted(set(shots))), tuple(dict.fromkeys(seeds))
    if not shots or not seeds:
        raise ValueError("give at least one number of shots and one seed")
    methods = list({m.id: m for m in methods}.values())
    notebook = Notebook(plan_of(problem, tuned), out)
    reasons = {m.id: m.why_not(problem) for m in methods}
    able = [m for m in methods if not reasons[m.id]]
    todo = [(m, k, s) for m in able for k, s in runs_of(m, shots, seeds)]
    new = [(m, k, s) for m, k, s in todo if (m.id, k, s) not in notebook.trials]
    lessons = Lessons(problem, sorted({k for _, k, _ in new} - {0}), sorted({s for _, _, s in new}), tuned)
    refused: dict[str, dict[str, str]] = {"refused": {}, "failed": {}}
    report = progress or (lambda done, of: None)
    kept = len(todo) - len(new)
    for done, trial in enumerate(_trials(new, problem, lessons, workers)):
        report(kept + done, len(todo))
        if trial.outcome == "done":
            notebook.add(trial)
        else:
            refused[trial.outcome].setdefault(trial.method, f"at {trial.shots} shots: {trial.why}" if trial.shots else trial.why)
    report(len(todo), len(todo))
    left_out = {m: why for m, why in reasons.items() if why} | refused["refused"]
    trials = tuple(notebook.trials[key] for m, k, s in todo if (key := (m.id, k, s)) in notebook.trials)
    return Contest(problem, tuple(methods), shots, seeds, tuned, trials, left_out, refused["failed"], time.perf_counter() - start)


Task = tuple[Method, int, int]
"""(method, shots, seed)."""


def _trials(tasks: Sequence[Task], problem: Problem, lessons: Lessons, workers: int) -> Iterator[Trial]:
    """The trials as they end. Where a method did not run, its other draws of that size are left out: they would meet the same end."""
    apart = [t for t in tasks if workers > 1 and t[0].on_features]
    stopped: set[tuple[str, int]] = set()

    def here() -> Iterator[Trial]:
        for method, k, seed in tasks:
            if (method.id, k) not in stopped and not (workers > 1 and method.on_features):
                yield run(method, problem, k, seed, lessons)

    def elsewhere() -> Iterator[Trial]:
        light, skip = problem.without_model(), lambda t: (t[0].id, t[1]) in stopped
        for trial in side_by_side(run, apart, light, lessons, min(workers, len(apart)), skip):
            for exam in problem.exams:  # the copies that were marked are gone: another contest shall not mark this run again
                exam.close(trial.key)
            yield trial

    for trial in chain(elsewhere(), here()):
        if trial.outcome != "done":
            stopped.add((trial.method, trial.shots))
        yield trial


def runs_of(method: Method, shots: Sequence[int], seeds: Sequence[int]) -> list[tuple[int, int]]:
    """(shots, seed) of each run: a method that learns from no shots answers once, or once a seed if it minds the order of questions."""
    if method.learns:
        return [(k, s) for k in shots for s in seeds]
    return [(0, s) for s in (seeds if method.face == "stream" else seeds[:1])]


def run(method: Method, problem: Problem, k: int, seed: int, lessons: Lessons) -> Trial:
    """Learn and sit the exams of every step; refusals and failures become the trial's outcome."""
    scores, fit, ask, chosen = {}, 0.0, 0.0, "defaults"
    try:
        for step in problem.steps:
            train, val = lessons(k, seed, step.learn)
            if val is not None and method.chooses:
                chosen = "val"
            at = time.perf_counter()
            answer = method.learn(Given(train, val, step, problem, seed))
            fit += time.perf_counter() - at
            for exam in step.exams:
                at = time.perf_counter()
                with torch.no_grad():
                    logits_NC = answer(exam)
                ask += time.perf_counter() - at
                scores[exam.name] = exam.mark((method.id, k, seed), logits_NC)
    except Exception as e:
        outcome = "refused" if isinstance(e, ValueError) else "failed"
        why = " ".join(str(e).split()) or type(e).__name__
        return Trial(method.id, k, seed, outcome, why if outcome == "refused" else f"{type(e).__name__}: {why}")
    return Trial(method.id, k, seed, "done", "", scores, chosen, fit, ask, commit())


class Lessons:
    """The shots of every (k, seed), embedded once: lessons(k, seed, classes) -> (train, val or None), the same for every method."""

    def __init__(self, problem: Problem, shots: Sequence[int], seeds: Sequence[int], tuned: bool) -> None:
        self._label_N = problem.pool.label_N
        self._tuned = tuned
        self._drawn = {s: draws(self._label_N, problem.pool.id_N, shots, s) for s in seeds} if shots else {}
        parts = [rows for drawn in self._drawn.values() for train, val in drawn.values() for rows in (train, val if tuned else [])]
        rows = sorted({i for part in parts for i in part})
        self._at = {i: j for j, i in enumerate(rows)}
        self._all = problem.pool.features(rows) if rows else nothing(problem)
        check_same_encoder(self._all, problem.text)

    def __call__(self, k: int, seed: int, classes: Sequence[int]) -> tuple[Features, Features | None]:
        train, val = self._drawn[seed][k] if k else ([], [])
        wanted = set(classes)
        pick = lambda rows: self._all.rows([self._at[i] for i in rows if self._label_N[i] in wanted])
        held = pick(val if self._tuned else [])
        return pick(train), held if len(held) else None


def nothing(problem: Problem) -> Features:
    """No rows at all."""
    return Features(torch.zeros(0, problem.text.W_CD.shape[1]), torch.zeros(0, dtype=torch.int64), encoder=problem.text.encoder)


def plan_of(problem: Problem, tuned: bool) -> dict[str, Any]:
    """What all runs of one folder have in common: data, model, setting and how hyper-parameters are chosen."""
    exams = [[e.name, e.classes, e.x.ids] for e in problem.exams]
    rows = io.hash_json([problem.text.names, list(problem.pool.id_N), exams])[:16]
    return {"problem": problem.name, "setting": problem.setting, "encoder": problem.text.encoder, "tuned": tuned, "rows": rows}
