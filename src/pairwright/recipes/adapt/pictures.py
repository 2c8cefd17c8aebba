"""Features of the user's pictures: each content embedded once per model and precision, kept on disk, and no more than there is time for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairwright.core import io
from pairwright.evaluate.store import FeatureStore
from pairwright.models.embed import embed
from pairwright.recipes.adapt.clock import Clock
from pairwright.recipes.adapt.survey import Surveyed, in_turn

FIRST, PIECE = 64, 512
"""Images embedded before the first look at the clock, and at most between two looks: what an interrupt can lose."""


def embedded(
    model: Any, seen: Surveyed, data: Any, clock: Clock, precision: str = "fp32", progress: Callable[[int, int], None] | None = None
) -> tuple[Surveyed, Tensor]:
    """What was surveyed, without the pictures that there was no time for, and a unit row for each that remains.

    Pictures are taken in turn, class by class, so that a budget that is too short leaves fewer labels of every class. A note says so.
    """
    store = FeatureStore(model.fingerprint, io.cache_dir("adapt"))
    where = str(Path(data).resolve()) if isinstance(data, (str, Path)) else "memory"
    shelf = hashlib.sha256(f"{where}\0{precision}".encode(errors="surrogateescape")).hexdigest()[:16]
    source_of = {look.content: source for look, source in zip(seen.looks, seen.problem.sources, strict=True)}
    order, rows, size, done = in_turn(seen.problem), {}, FIRST, 0
    while done < len(order) and not (done and clock.over()):
        part, start = order[done : done + size], clock.spent
        tell = None if progress is None else lambda n, _, done=done: progress(done + n, len(order))
        make = lambda new, tell=tell: (
            embed(model, images=[source_of[c] for c in new], skip_bad=False, progress=tell or False, precision=precision).z_ND
        )
        rows.update(zip(part, store.get(shelf, [seen.looks[i].content for i in part], make), strict=True))
        done += len(part)
        each = max(clock.spent - start, 1e-6) / len(part)
        size = int(min(PIECE, max(16, clock.left / 4 / each)))
    if progress is not None:
        progress(done, done)
    kept = seen.rows([i in rows for i in range(len(order))])
    if done < len(order):
        kept.problem.notes.append(
            f"There was no time to embed {len(order) - done} of {len(order)} images: they are left out. Give more time."
        )
    return kept, torch.stack([rows[i] for i in sorted(rows)])
