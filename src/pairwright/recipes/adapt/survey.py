"""Look at the pictures of a problem: leave out what cannot be read or contradicts itself, group copies, and say what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pairwright.evaluate.shots import shuffled_by_class
from pairwright.recipes.adapt.alike import Look, groups, look_all
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.kinds import kind_of
from pairwright.recipes.adapt.problem import Problem
from pairwright.recipes.adapt.words import many


@dataclass
class Surveyed:
    """A problem whose pictures can be read. group_N: copies share a number. conflicts: sets of ids that show one picture under several
    labels (left out)."""

    problem: Problem
    looks: list[Look]
    group_N: list[int]
    conflicts: list[list[str]]

    def rows(self, keep_N: Sequence[bool]) -> Surveyed:
        """The same with some of its pictures."""
        pick = lambda values: [v for v, k in zip(values, keep_N, strict=True) if k]
        return Surveyed(self.problem.rows(keep_N), pick(self.looks), pick(self.group_N), self.conflicts)


def in_turn(problem: Problem) -> list[int]:
    """Row numbers: labelled ones first, a row of each class in turn in an order drawn by hash, then test rows, then those without a label.
    What comes first is a fair part of the whole."""
    labels = kind_of(problem.y).strata(problem.y)
    part = [0 if known and not test else 1 if test else 2 for known, test in zip(problem.labelled_N, problem.test_N, strict=True)]
    turn = [0] * len(labels)
    for rows in shuffled_by_class(list(zip(part, labels, strict=True)), problem.ids, 0).values():
        for place, i in enumerate(rows):
            turn[i] = place
    return sorted(range(len(labels)), key=lambda i: (part[i], turn[i], labels[i], problem.ids[i]))


def survey(problem: Problem, progress: Callable[[int, int], None] | None = None, clock: Clock | None = None) -> Surveyed:
    """Read every picture once, or as many as there is time for. Raises ValueError where none can be read."""
    order = in_turn(problem)
    read, bad = look_all([problem.sources[i] for i in order], progress=progress, clock=clock)
    found: list[Look | None] = [None] * len(order)
    for i, seen in zip(order, read, strict=False):
        found[i] = seen
    problem.skipped.update({problem.ids[i]: why for i, why in sorted((order[place], why) for place, why in bad.items())})
    if len(bad) == len(read):
        first = next(iter(bad))
        raise ValueError(f"none of the {len(read)} images can be read ({problem.ids[order[first]]}: {bad[first]})")
    unread = len(order) - len(read)
    problem = problem.rows([seen is not None for seen in found])
    looks = [seen for seen in found if seen is not None]
    if problem.multi:
        problem, looks = _joined(problem, looks)
    conflicts = _conflicts(problem, looks)
    out = {id_ for ids in conflicts for id_ in ids}
    keep = [id_ not in out for id_ in problem.ids]
    problem, looks = problem.rows(keep), [seen for seen, k in zip(looks, keep, strict=True) if k]
    if not problem.ids:
        raise ValueError("every image lies in several classes: keep each in one folder, or pass --multi-label")
    group_N = groups(looks)
    across = _across(problem, group_N)
    keep = [not a for a in across]
    problem, looks, group_N = problem.rows(keep), *([v for v, k in zip(values, keep, strict=True) if k] for values in (looks, group_N))
    problem.notes[:] = _say(problem, group_N, conflicts)
    if any(across):
        problem.notes.append(
            f"{many(sum(across), 'test image is a copy', 'test images are copies')} of images that are learned from: left out of the test."
        )
    if unread:
        problem.notes.append(f"There was no time to look at {unread} of {len(order)} images: they are left out. Give more time.")
    return Surveyed(problem, looks, group_N, conflicts)


def _joined(problem: Problem, looks: list[Look]) -> tuple[Problem, list[Look]]:
    """With several classes an image: equal files become one row with the classes of all (an image that lies in two class folders)."""
    first: dict[str, int] = {}
    y = problem.y.clone()
    for i, seen in enumerate(looks):
        j = first.setdefault(seen.content, i)
        y[j] = torch.maximum(y[j], y[i])
    keep = [first[seen.content] == i for i, seen in enumerate(looks)]
    problem.y = y
    return problem.rows(keep), [seen for seen, k in zip(looks, keep, strict=True) if k]


def _across(problem: Problem, group_N: Sequence[int]) -> list[bool]:
    """Which test rows show a picture that is learned from, or nearly."""
    learned = {
        g for g, known, test in zip(group_N, problem.labelled_N.tolist(), problem.test_N.tolist(), strict=True) if known and not test
    }
    return [test and g in learned for g, test in zip(group_N, problem.test_N.tolist(), strict=True)]


def _conflicts(problem: Problem, looks: list[Look]) -> list[list[str]]:
    if problem.multi:
        return []
    same: dict[str, list[int]] = {}
    for i, seen in enumerate(looks):
        same.setdefault(seen.content, []).append(i)
    torn = [rows for rows in same.values() if len({c for c in problem.y[rows].tolist() if c >= 0}) > 1]
    return [[problem.ids[i] for i in rows] for rows in torn]


def _say(problem: Problem, group_N: list[int], conflicts: list[list[str]]) -> list[str]:
    known, test = problem.labelled_N & ~problem.test_N, problem.labelled_N & problem.test_N
    y, names = problem.y[known], problem.names
    counts = (torch.bincount(y, minlength=len(names)) if y.ndim == 1 else y.clamp_min(0).sum(0)).tolist()
    n, middle = int(known.sum()), sorted(counts)[len(counts) // 2]
    said = []
    if n:
        several = f", {float(y.sum(1).float().mean()):.1f} classes an image" if problem.multi else ""
        each = f"{middle}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} (in the middle {middle})"
        said.append(f"{n} labelled images of {len(names)} classes, {each} a class{several}.")
    else:
        said.append(f"{len(problem.ids)} images without labels, and the names of {len(names)} classes.")
    if n and (rest := len(problem.ids) - n - int(test.sum())):
        said.append(f"{many(rest, 'image has', 'images have')} no label: left alone.")
    if test.any():
        said.append(f"{many(int(test.sum()), 'image is', 'images are')} marked as test: asked once, at the end, and never learned from.")
    if n and min(counts) and max(counts) >= 5 * min(counts):
        said.append(f"The classes are unequal: {names[counts.index(max(counts))]} has {max(counts) // min(counts)} times as many as "
                    f"{names[counts.index(min(counts))]}.")  # fmt: skip
    if n and len(names) > n:
        said.append(f"There are more classes ({len(names)}) than labelled images ({n}): most are known by their names alone.")
    if copies := len(group_N) - len(set(group_N)):
        said.append(
            f"{many(copies, 'image is a copy', 'images are copies')}, or nearly, of others: copies are learned from or asked together."
        )
    if conflicts:
        first = ", ".join(conflicts[0][:3])
        said.append(f"{sum(map(len, conflicts))} images are left out: the same picture lies in several classes ({first}).")
    if problem.skipped:
        where, why = next(iter(problem.skipped.items()))
        said.append(f"{many(len(problem.skipped), 'file', 'files')} could not be read ({where}: {why}).")
    return said
