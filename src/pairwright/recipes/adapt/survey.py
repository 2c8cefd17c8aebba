"""Look at the pictures of a problem: leave out what cannot be read or contradicts itself, group copies, and say what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pairwright.recipes.adapt.alike import Look, groups, look_all
from pairwright.recipes.adapt.problem import Problem


@dataclass
class Surveyed:
    """A problem whose pictures can be read. group_N: copies share a number. conflicts: sets of ids that show one picture under several
    labels (left out)."""

    problem: Problem
    looks: list[Look]
    group_N: list[int]
    conflicts: list[list[str]]


def survey(problem: Problem, progress: Callable[[int, int], None] | None = None) -> Surveyed:
    """Read every picture once. Raises ValueError where none can be read."""
    found, bad = look_all(problem.sources, progress=progress)
    problem.skipped.update({problem.ids[i]: why for i, why in bad.items()})
    if len(bad) == len(found):
        first = next(iter(bad))
        raise ValueError(f"none of the {len(found)} images can be read ({problem.ids[first]}: {bad[first]})")
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
    problem.notes[:] = _say(problem, group_N, conflicts)
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
        said.append(f"{rest} images have no label: they are left alone.")
    if test.any():
        said.append(f"{int(test.sum())} images are marked as test: they are asked once, at the end, and never learned from.")
    if n and min(counts) and max(counts) >= 5 * min(counts):
        said.append(f"The classes are unequal: {names[counts.index(max(counts))]} has {max(counts) // min(counts)} times as many as "
                    f"{names[counts.index(min(counts))]}.")  # fmt: skip
    if n and len(names) > n:
        said.append(f"There are more classes ({len(names)}) than labelled images ({n}): most are known by their names alone.")
    if copies := len(group_N) - len(set(group_N)):
        said.append(f"{copies} images are copies, or nearly, of others: copies are learned from or asked together, never across.")
    if conflicts:
        first = ", ".join(conflicts[0][:3])
        said.append(f"{sum(map(len, conflicts))} images are left out: the same picture lies in several classes ({first}).")
    if problem.skipped:
        where, why = next(iter(problem.skipped.items()))
        said.append(f"{len(problem.skipped)} files could not be read ({where}: {why}).")
    return said
