"""Several tasks with few labels on the scenes of patch_towers, behind disturbances that they share or that each has for itself."""

from __future__ import annotations

import torch

from claims import patch_towers as T
from claims import vector_towers as V
from pairwright.core.numerics import generator
from pairwright.data.world.language import Language
from pairwright.prompts.images import Images
from pairwright.recipes.fm3 import FM3, Task

LANGUAGES = tuple(Language(seed) for seed in (1, 2, 3))
DISTURBANCES, STRENGTH, ROWS = 4, 3.0, 700


def tasks(
    seed: int, *, related: bool = True, shuffled: bool = False, n: int = 4, classes: int = 8, shots: int = 8
) -> dict[str, tuple[Task, Images]]:
    """Each task's training rows and test images: `classes` of the 64 named in one of three invented languages.

    Every image is moved along four directions by random lengths, three times the usual length of what a scene holds: the same four for all
    tasks if related, else four of its own for each. shuffled: training labels are exchanged at random.
    """
    found = {}
    for t in range(n):
        chosen = torch.randperm(len(V.NAMES), generator=generator("classes of a task", seed, t))[:classes]
        whose = "all" if related else t
        away_KW = STRENGTH * torch.stack([V.direction("disturbance", seed, whose, k) for k in range(DISTURBANCES)])
        parts = []
        for start in (30_000, 530_000):
            at = start + 20_000 * seed + 2000 * t
            lengths_NK = torch.randn(ROWS, DISTURBANCES, generator=generator("disturbances", at))
            parts.append(T.scenes(ROWS, at, lengths_NK @ away_KW))
        train = T.only(parts[0], chosen, shots)
        names = [LANGUAGES[t % len(LANGUAGES)].translate(name) for name in V.named(chosen)]
        order_N = torch.randperm(len(train), generator=generator("labels", seed, t)) if shuffled else torch.arange(len(train))
        found[f"task {t}"] = Task(train.x, train.y_N[order_N], names), T.only(parts[1], chosen)
    return found


def accuracy(learner: FM3, given: dict[str, tuple[Task, Images]]) -> float:
    """Mean test accuracy over the tasks that `learner` learns together on a fresh model."""
    model = T.tower()
    learner.fit(model, {name: task for name, (task, _) in given.items()})
    right = [learner.logits(model, name, test.x).argmax(1).eq(test.y_N).double().mean() for name, (_, test) in given.items()]
    return float(torch.stack(right).mean())
