"""Weight tuning for a problem's classes: which methods there are, what a step costs, and one tuned model with its classifier."""

from __future__ import annotations

import io as memory
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.find import find, score
from pairwright.data.images import open_image
from pairwright.heads.linear.logistic import Logistic
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.recipes._class_folder import Classes, ClassesConfig, linear_head
from pairwright.recipes._fine_tune import Classify, fine_tune, image_tower
from pairwright.recipes.clip_lora import ClipLoraConfig
from pairwright.recipes.clip_svd import ClipSvdConfig
from pairwright.recipes.flyp import FlypConfig
from pairwright.recipes.lp_ft import LpFtConfig
from pairwright.train.objective import Sum
from pairwright.tune.weights.lora import LoRA
from pairwright.tune.weights.select_params import SelectParams
from pairwright.tune.weights.singular_values import SingularValues

TRIED = "tune/weights/lora"
"""The one that is tried unasked: one fixed setting for all data, small updates."""
MOST_STEPS = 500
"""A ceiling: the papers go to 8,000, for which few users wait."""
_TRIAL = 3
"""Steps that are timed, beyond the first."""
_SURE = 0.9


@dataclass(frozen=True)
class Way:
    """How one method tunes. config: its recipe's settings. modifier: what moves, trained with cross-entropy to the class text; None: `tune`
    does it all, and returns a head where the class text is not the classifier."""

    name: str
    config: ClassesConfig
    modifier: Callable[[Any], Any] | None = None
    tune: Callable[[Classes, Features, int], Any] | None = None

    def steps(self, rows: int) -> int:
        """The recipe's number of steps, under the ceiling."""
        epochs = getattr(self.config, "epochs", None)
        return MOST_STEPS if epochs is None else min(MOST_STEPS, max(1, round(epochs * rows / min(self.config.batch, rows))))


def _flyp(classes: Classes, train: Features, steps: int) -> None:
    fine_tune(classes.model, classes.pairs(), Sum({"clip": InfoNCE()}), classes.config.how(steps))


def _lp_ft(classes: Classes, train: Features, steps: int) -> Logistic:
    probe = Logistic().fit(train, ClassText(torch.zeros(len(classes.names), train.z_ND.shape[1]), classes.names))
    objective = Classify(head=(probe.weight_, probe.bias_))
    fine_tune(classes.model, classes.labelled(text=False), objective, classes.config.how(steps), trainable=image_tower)
    return linear_head(classes.model, (objective.weight_CD, objective.bias_C))


WAYS: dict[str, Way] = {
    TRIED: Way("CLIP-LoRA", ClipLoraConfig(), lambda c: LoRA(c.rank, c.alpha, c.dropout, c.parts, c.towers, seed=c.seed)),
    "tune/weights/singular_values": Way("CLIP-SVD", ClipSvdConfig(), lambda c: SingularValues(c.parts, c.towers)),
    "tune/weights/select_params": Way("LN-tuning", ClassesConfig(lr=1e-3, weight_decay=0.0), lambda c: SelectParams("norm")),
    "recipes/flyp": Way("FLYP", FlypConfig(), tune=_flyp),
    "recipes/lp_ft": Way("LP-FT", LpFtConfig(), tune=_lp_ft),
}


def forced_weights(name: str) -> str | None:
    """The id of the weight-tuning method that a name means before anything else, or None."""
    first = next(iter(find(name, 1)), None)
    return first.id if first is not None and first.id in WAYS and score(name, first) >= _SURE else None


@dataclass(frozen=True)
class Tuner:
    """A method on a model and a problem's labelled pictures. train: their features under the model as it is; pictures: shrunk, encoded;
    prompts: the templates of the class text. The model itself is left bit-identical: what is tuned is a copy."""

    id: str
    model: Any
    train: Features
    pictures: Sequence[bytes]
    prompts: Sequence[str]
    seed: int = 0

    @property
    def way(self) -> Way:
        return WAYS[self.id]

    def fit(self, rows: Sequence[int], steps: int) -> tuple[Any, Any]:
        """A tuned copy of the model and a fitted head on its features, learned from some rows."""
        names, way = self.train.classes, self.way
        prompts = list(self.prompts) if way.tune is _flyp else list(self.prompts[:1])
        table = pa.table(
            {
                "id": [self.train.ids[i] for i in rows],
                "image": pa.array([self.pictures[i] for i in rows], pa.binary()),
                "label": [names[self.train.y_N[i]] for i in rows],
                "group": [names[self.train.y_N[i]] for i in rows],
            }
        )
        config = replace(way.config, template=prompts, workers=0, seed=self.seed)
        model = deepcopy(self.model)
        classes = Classes(model, names, table, table.slice(0, 0), Path(), config)
        head = None
        if way.modifier is None:
            head = way.tune(classes, self.train.rows(list(rows)), steps)
        else:
            objective = Classify(float(model.scale.detach()))
            fine_tune(model, classes.labelled(text=True), objective, config.how(steps), modifiers=[way.modifier(config)])
        model.eval().requires_grad_(True)
        return model, ZeroShot().fit(None, class_text(model, names, prompts)) if head is None else head

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
