"""The figures of an adapted classifier, each with its interval, and what they mean in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pairwright.core.features import Features
from pairwright.evaluate.intervals import Statistic, bootstrap, calibration, macro, mean
from pairwright.evaluate.result import Number
from pairwright.metrics.average_precision import average_precision
from pairwright.recipes.adapt.words import many

GAP = 0.15
"""From this difference between rows learned from and others on, the report speaks of overfitting."""


def metrics(done: Any, train: Features, group_N: Sequence[int]) -> dict[str, Number]:
    """Headline first: ``accuracy`` (or ``f1``, the mean over images), then zero-shot on the same rows, and what else is known."""
    rows_N, y, single = done.rows_N, train.y_N, train.y_N.ndim == 1
    classes, found = done.probs_NC.shape[1], {}
    name, chance = ("accuracy", 1 / classes) if single else ("f1", None)
    groups_M = np.asarray(group_N)[rows_N.numpy()]

    def add(key: str, statistic: Statistic, chance: float | None = None, groups: Any = groups_M) -> None:
        e = bootstrap(statistic, groups)
        found[key] = Number(e.value, e.low, e.high, e.n, e.groups, chance)

    if not rows_N.any():
        known = ~torch.isnan(done.zero_N)
        if known.any():
            add(f"zero_shot_{name}", mean(done.zero_N[known]), chance, np.asarray(group_N)[known.numpy()])
        return found
    right_M, probs_MC = done.right_N[rows_N].numpy(), done.probs_NC[rows_N]
    add(name, mean(right_M), chance)
    if not torch.isnan(done.zero_N).any():
        add(f"zero_shot_{name}", mean(done.zero_N[rows_N]), chance)
    if single:
        add("mean_per_class_recall", macro(right_M, y[rows_N].numpy()), chance)
        add("calibration_error", calibration(probs_MC.max(1).values.numpy(), right_M, 10))
        sure_M = done.sure_N[rows_N].numpy()
        if done.promised and not np.isnan(sure_M).any():
            answered_M = (sure_M >= done.committee.threshold).astype(float)
            add("answered", mean(answered_M))
            wrong_M = 1 - right_M
            add("errors_among_answered", lambda w: (w @ (answered_M * wrong_M)) / np.maximum(w @ answered_M, 1e-9))
    else:
        there = y[rows_N].sum(0) > 0
        value = average_precision(probs_MC.T[there], y[rows_N].T[there].bool())
        found["mean_average_precision"] = Number(value, n=int(rows_N.sum()), groups=len(set(groups_M.tolist())))
    return found


def notes(done: Any, names: Sequence[str], counts: Sequence[int], wish: Any, time: bool) -> list[str]:
    """Sentences that a user should read before believing the figures."""
    said = []
    single = done.committee.thresholds_C is None
    if done.interrupted:
        said.append("The search was interrupted: this is the best that was found until then.")
    if not time and sum(counts):
        said.append("The budget was too short for a search: this is zero-shot, which learns nothing from your labels. Give more time.")
    elif done.cut:
        said.append("The budget ended before everything was tried: more time may find better, and another run may choose otherwise.")
    if done.protocol == "partly nested":
        said.append(f"The figure comes from {len(done.outer.folds)} of {done.outer.total} outer folds: there was no time for the others.")
    if done.protocol == "folds of the choice":
        said.append("The figure is optimistic: it was measured on the rows that the choice was made on, for want of time.")
    if done.protocol == "none":
        why = "no class has two labelled images" if sum(counts) else "there are no labels"
        said.append(f"Nothing could be measured: {why}. Two labels a class are the least, eight make a useful figure.")
    once = [n for n, c in zip(names, counts, strict=True) if c == 1]
    if once and single and done.protocol != "none":
        have = many(len(once), "class has", "classes have")
        said.append(f"{have} one label ({_some(once)}): it is learned from, and the figure says nothing about it.")
    none = [n for n, c in zip(names, counts, strict=True) if c == 0]
    if none and sum(counts):
        have = many(len(none), "class has", "classes have")
        said.append(f"{have} no label ({_some(none)}): known by name alone, and not measured.")
    if done.gain is not None and len(done.committee.members) and time:
        g = done.gain
        span = "" if g.low is None else f"{100 * g.low:+.1f} … {100 * g.high:+.1f}"
        if g.low is not None and g.low > 0:
            said.append(f"Your labels help: {100 * g.value:+.1f} points over zero-shot ({span}).")
        elif g.low is not None:
            said.append(f"Your labels do not help beyond doubt: {100 * g.value:+.1f} points over zero-shot ({span}).")
    if done.train_right is not None and done.train_right - done.held_right > GAP:
        said.append(
            f"It overfits: {100 * done.train_right:.0f}% right on images it learned from, {100 * done.held_right:.0f}% on others. It knows "
            "your examples better than your classes; more labels help, more methods do not."
        )
    if single and done.protocol != "none" and not done.promised:
        said.append(
            f"It answers always: {int(done.rows_N.sum())} held-out answers are too few, or too often wrong, to promise that at most "
            f"{100 * wish.risk:.0f}% of the answers given are wrong."
        )
    failed = [t for t in done.search.trials if t.state == "failed"]
    if failed:
        said.append(f"{many(len(failed), 'candidate', 'candidates')} failed and left out ({failed[0].candidate.label}: {failed[0].why}).")
    return said


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
