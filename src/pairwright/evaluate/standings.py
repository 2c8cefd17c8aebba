"""The outcome of a contest as one tidy table: values with intervals, paired tests against zero-shot and the best, seconds; and files.

One row for each method, number of shots and score. Tests are on per-item scores (means over seeds) of the same items, clustered by group,
and adjusted for the number of methods compared (Holm). ``tied`` marks the methods that the data cannot tell from the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pairwright.core import io
from pairwright.core.provenance import commit, versions
from pairwright.evaluate.contest import Contest
from pairwright.evaluate.methods import ZERO_SHOT
from pairwright.evaluate.settings import FORGETTING
from pairwright.evaluate.together import Together, holm
from pairwright.evaluate.trials import Trial

LEVEL = 0.05
ACCURACY = "accuracy"
"""What the one score of a problem with a single exam is called."""


@dataclass(frozen=True)
class Standings:
    """rows: the tidy table; facts: what was compared on what, by which protocol; items: every item's score in every run."""

    rows: tuple[dict[str, Any], ...]
    facts: dict[str, Any]
    left_out: Mapping[str, str]
    failed: Mapping[str, str]
    items: pa.Table

    @property
    def lead(self) -> list[dict[str, Any]]:
        """The rows of the leading score."""
        return [r for r in self.rows if r["score"] == self.facts["lead"]]

    def to_json(self) -> dict[str, Any]:
        return {**self.facts, "left_out": dict(self.left_out), "failed": dict(self.failed), "rows": list(self.rows)}

    def save(self, folder: str | Path) -> None:
        """Write ``results.json``, ``results.parquet`` and ``items.parquet``."""
        folder = Path(folder)
        for name, table in (("results", pa.Table.from_pylist(list(self.rows))), ("items", self.items)):
            with io.atomic(folder / f"{name}.parquet") as tmp:
                pq.write_table(table, tmp)
        io.write_json(folder / "results.json", self.to_json())


def standings(found: Contest, *, draws: int = 1000) -> Standings:
    """Intervals and tests of everything that ran in all its seeds."""
    problem = found.problem
    runs: dict[tuple[str, int], list[Trial]] = {}
    for t in sorted(found.trials, key=lambda t: t.seed):
        runs.setdefault((t.method, t.shots), []).append(t)
    whole = {key: r for key, r in runs.items() if len(r) == len(found.seeds) or (key[1] == 0 and len(r) == 1)}
    order = {m.id: i for i, m in enumerate(found.methods)}
    keys = sorted(whole, key=lambda key: (order[key[0]], key[1]))
    if not keys:
        why = {**found.left_out, **found.failed}
        raise ValueError("no method ran: " + "; ".join(f"{m}: {w}" for m, w in list(why.items())[:5]))
    names = list(dict.fromkeys(e.name for e in problem.exams))
    groups = {e.name: e.group_N for e in problem.exams}
    scores = {n: np.stack([_seeds([t.scores[n] for t in whole[key]], len(found.seeds)) for key in keys]) for n in names}
    both = Together(scores, groups, problem.derive, draws=draws)
    by_seed = {n: s.mean(2) for n, s in scores.items()}
    by_seed |= problem.derive(by_seed)
    rows = [row for name in both.value for row in _rows(found, both, name, keys, whole, by_seed[name])]
    facts = {
        "suite": problem.name,
        "setting": problem.setting,
        "lead": problem.lead or ACCURACY,
        "hyper_parameters": "chosen on min(k, 4) further labelled rows a class, where a method can"
        if found.tuned
        else "validation-free defaults",
        "shots": list(found.shots),
        "seeds": list(found.seeds),
        "classes": len(problem.text),
        "encoder": problem.text.encoder,
        "exams": {e.name or ACCURACY: {"n": len(e), "groups": len(set(e.group_N)), "classes": len(e.classes)} for e in problem.exams},
        "tests": f"paired by item, clustered by group, {draws} resamples; Holm over the methods of one score and number of shots",
        "commits": sorted({t.commit for t in found.trials}),
        "commit": commit(),
        "seconds": found.seconds,
        "versions": versions(),
        "data": dict(problem.facts),
    }
    return Standings(tuple(rows), facts, found.left_out, found.failed, _items(found))


def _rows(
    found: Contest, both: Together, name: str, keys: Sequence[tuple[str, int]], runs: Mapping[tuple[str, int], list[Trial]], by_seed: Any
) -> list[dict[str, Any]]:
    """The rows of one score: for each number of shots the methods that ran, and how each stands to zero-shot and to the best of them."""
    methods = {m.id: m for m in found.methods}
    low_K, high_K = both.interval(name)
    sign = -1 if name == FORGETTING else 1
    zero = keys.index((ZERO_SHOT, 0)) if (ZERO_SHOT, 0) in keys else None
    exam = next((e for e in found.problem.exams if e.name == name), None)
    over = None if zero is None else (*both.difference(name, zero), both.p_values(name, zero))
    rows = []
    for shots in found.shots:
        family = [i for i, (_, k) in enumerate(keys) if k in (0, shots)]
        best = max(family, key=lambda i: (sign * both.value[name][i], -i))
        p_best = _adjusted(both.p_values(name, best), family, best)
        p_zero = {} if over is None else _adjusted(over[3], family, zero)
        for i in family:
            method, k = keys[i]
            trials = runs[method, k]
            rows.append(
                {
                    "method": method,
                    "title": methods[method].title,
                    "status": methods[method].status,
                    "learns": k > 0,
                    "suite": found.problem.name,
                    "setting": found.problem.setting,
                    "score": name or ACCURACY,
                    "shots": shots,
                    "value": float(both.value[name][i]),
                    "low": float(low_K[i]),
                    "high": float(high_K[i]),
                    "sd_seeds": float(np.std(by_seed[i], ddof=1)) if len(trials) > 1 else None,
                    "seeds": len(trials),
                    "n": len(exam) if exam else None,
                    "groups": len(set(exam.group_N)) if exam else None,
                    "chance": exam.chance if exam else None,
                    "chosen": trials[0].chosen,
                    "best": i == best,
                    "tied": p_best.get(i, 1.0) > LEVEL,
                    "p_best": p_best.get(i),
                    "over_zero_shot": None if over is None else float(over[0][i]),
                    "over_low": None if over is None else float(over[1][i]),
                    "over_high": None if over is None else float(over[2][i]),
                    "p_zero_shot": p_zero.get(i),
                    "seconds_fit": float(np.median([t.seconds_fit for t in trials])),
                    "seconds_ask": float(np.median([t.seconds_ask for t in trials])),
                }
            )
    return rows


def _adjusted(p_K: Any, family: Sequence[int], against: int | None) -> dict[int, float]:
    """Holm's p of every method of a family against one of them."""
    others = [i for i in family if i != against]
    return dict(zip(others, holm(p_K[others]).tolist(), strict=True))


def _seeds(scores: Sequence[Any], seeds: int) -> Any:
    """(S, N): a run that stands for every seed (it does not learn) is repeated, so that it carries no luck of a draw."""
    return np.stack(scores if len(scores) == seeds else list(scores[:1]) * seeds)


def _items(found: Contest) -> pa.Table:
    """One row per run and item: method, shots, seed, exam, id, group, score."""
    ids = {e.name: (pa.array(e.x.ids).dictionary_encode(), pa.array(e.group_N).dictionary_encode()) for e in found.problem.exams}
    parts = []
    for t in found.trials:
        for name, score_N in t.scores.items():
            n = len(score_N)
            same = lambda value, n=n: pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([value]))
            columns = [same(t.method), pa.array(np.full(n, t.shots)), pa.array(np.full(n, t.seed)), same(name or ACCURACY)]
            columns += [*ids[name], pa.array(score_N)]
            parts.append(pa.table(dict(zip(("method", "shots", "seed", "exam", "id", "group", "score"), columns, strict=True))))
    return pa.concat_tables(parts).unify_dictionaries()
