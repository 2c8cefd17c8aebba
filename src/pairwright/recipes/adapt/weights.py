"""Weight tuning for a problem's classes: what a step costs, and one tuned model with its classifier."""

from __future__ import annotations

import io as memory
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from pairwright.core.features import Features
from pairwright.data.images import open_image
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.recipes._class_folder import Classes
from pairwright.recipes.adapt.ways import WAYS, Lesson, Way

_TRIAL = 3
"""Steps that are timed, beyond the first."""


@dataclass(frozen=True)
class Tuner:
    """A way to tune, by its name, on a model and a problem's labelled pictures. train: their features under the model as it is; pictures:
    shrunk, encoded; prompts: the templates of the class text. The model itself is left bit-identical: what is tuned is a copy."""

    name: str
    model: Any
    train: Features
    pictures: Sequence[bytes]
    prompts: Sequence[str]
    seed: int = 0

    @property
    def way(self) -> Way:
        return WAYS[self.name]

    def fit(self, rows: Sequence[int], steps: int) -> tuple[Any, Any]:
        """A tuned copy of the model and a fitted head on its features, learned from some rows."""
        train, way = self.train.rows(list(rows)), self.way
        several = train.y_N.ndim == 2
        keys = train.ids if several else tuple(train.classes[c] for c in train.y_N.tolist())
        pictures = pa.array([self.pictures[i] for i in rows], pa.binary())
        table = pa.table({"id": list(train.ids), "image": pictures, "label": list(keys), "group": list(keys)})
        config = replace(way.config, template=list(self.prompts), workers=0, seed=self.seed)
        model = deepcopy(self.model)
        classes = Classes(model, keys if several else train.classes, table, table.slice(0, 0), Path(), config)
        head = way.tune(Lesson(classes, train, steps))
        model.eval().requires_grad_(True)
        return model, ZeroShot().fit(None, class_text(model, train.classes, list(self.prompts))) if head is None else head

    def rough(self) -> float:
        """Seconds of a step, at a guess: a pass forward through both towers, and one, twice as long, back."""
        batch = min(self.way.config.batch, len(self.train))
        with torch.inference_mode():
            ids_CL = self.model.tokenizer(list(self.train.classes)).to(self.model.device)
            x_B3HW = torch.zeros(batch, 3, *self.model.preprocess.hw, device=self.model.device)
            start = time.perf_counter()
            self.model.text(ids_CL)
            self.model.image(x_B3HW)
        return 3 * (time.perf_counter() - start)

    def price(self) -> Price:
        """What a fit costs, measured on this machine by short ones."""
        rows = list(range(len(self.train)))
        self.fit(rows, 1)  # imports, caches and choices that later fits find made
        start = time.perf_counter()
        self.fit(rows, 1)
        one = time.perf_counter()
        self.fit(rows, 1 + _TRIAL)
        end = time.perf_counter()
        step = max((end - one - (one - start)) / _TRIAL, (end - one) / (10 * (1 + _TRIAL)))
        return Price(step, one - start)


@dataclass(frozen=True)
class Price:
    """Seconds of a step, and of a fit beyond its steps."""

    step: float
    fit: float

    def of(self, fits: int, steps: int) -> float:
        return fits * (self.fit + steps * self.step)


def shrunk(sources: Sequence[Any], side: int) -> list[bytes]:
    """The pictures at twice the size that the model sees, at most, so that each step decodes little."""
    found = []
    for source in sources:
        image = open_image(source, at_least=2 * side, alpha=True)
        image.thumbnail((2 * side, 2 * side))
        png = memory.BytesIO()
        image.save(png, "PNG", compress_level=1)
        found.append(png.getvalue())
    return found
