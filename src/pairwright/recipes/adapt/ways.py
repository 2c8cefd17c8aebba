"""The ways to tune weights: what moves, towards what, and by which names a user asks for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features
from pairwright.core.find import find, plain, score
from pairwright.heads.linear.logistic import Logistic
from pairwright.heads.linear.one_vs_rest import OneVsRest
from pairwright.heads.zero_shot.class_text import class_text
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.merge.interpolate import Interpolate
from pairwright.merge.weights import merge_states
from pairwright.recipes._class_folder import Classes, ClassesConfig, Labelled, linear_head
from pairwright.recipes._fine_tune import Classify, class_ids, fine_tune, image_tower
from pairwright.recipes.clip_lora import ClipLoraConfig
from pairwright.recipes.clip_svd import ClipSvdConfig
from pairwright.recipes.flyp import FlypConfig
from pairwright.recipes.lp_ft import LpFtConfig
from pairwright.recipes.wise_ft import WiseFtConfig
from pairwright.train.objective import Sum
from pairwright.train.stage import Source
from pairwright.tune.weights.lora import LoRA
from pairwright.tune.weights.select_params import SelectParams
from pairwright.tune.weights.singular_values import SingularValues

TRIED = "CLIP-LoRA"
"""The one that is tried unasked: one fixed setting for all data, small updates."""
MOST_STEPS = 500
"""A ceiling: the papers go to 8,000, for which few users wait."""
_SURE = 0.9
_NAMES_ALONE = 1e9
"""A penalty that leaves nothing of one-vs-rest but the zero-shot score, its slope, and a bias for each class."""


@dataclass(frozen=True)
class Lesson:
    """What is learned from: a model to change, labelled pictures (`classes.train`), and their features under the model as it is. Where an
    image may have several classes, a row's key in `classes.names` is its own id."""

    classes: Classes
    train: Features
    steps: int

    @property
    def several(self) -> bool:
        return self.train.y_N.ndim == 2

    @property
    def names(self) -> tuple[str, ...]:
        return self.train.classes

    def text(self) -> ClassText:
        """The class text of the model as it is now, the mean over all templates."""
        return class_text(self.classes.model, self.names, self.classes.config.template)

    def source(self, text: bool) -> Source:
        """Batches of pictures with the place of their class, or, with several classes an image, with the number of their row."""
        source = self.classes.labelled(text=False)
        ids = [class_ids(self.classes.model, self.names, t) for t in self.classes.config.template] if text else []
        return Labelled(source.pairs, source.keys_C, ids, self.classes.config.seed)

    def objective(self, head: tuple[Tensor, Tensor] | None = None, scale: float = 100.0, bias_C: Tensor | None = None) -> Classify:
        return Classify(scale, head, y_NC=self.train.y_N if self.several else None, bias_C=bias_C)


Tune = Callable[[Lesson], Any]


@dataclass(frozen=True)
class Way:
    """One way to tune. id: of the method in the index; names: what users call it. tune: changes the lesson's model, and returns a head on
    it where the class text alone is not the classifier. several: whether it takes several classes an image."""

    id: str
    config: ClassesConfig
    tune: Tune
    names: tuple[str, ...] = ()
    several: bool = True

    def steps(self, rows: int) -> int:
        """The recipe's number of steps, under the ceiling."""
        epochs = getattr(self.config, "epochs", None)
        return MOST_STEPS if epochs is None else min(MOST_STEPS, max(1, round(epochs * rows / min(self.config.batch, rows))))


def to_class_text(modifier: Callable[[Any], Any]) -> Tune:
    """Move what a modifier chooses, towards the class text that the text tower makes anew in each step."""

    def tune(on: Lesson) -> Logistic | None:
        config, model = on.classes.config, on.classes.model
        start = OneVsRest(_NAMES_ALONE).fit(on.train, on.text()) if on.several else None
        scale = float(model.scale.detach()) if start is None else start.prior_
        objective = on.objective(scale=scale, bias_C=None if start is None else start.bias_)
        fine_tune(model, on.source(text=True), objective, config.how(on.steps), modifiers=[modifier(config)])
        return None if start is None else linear_head(model, (scale * on.text().W_CD, objective.bias_C))

    return tune


def _flyp(on: Lesson) -> None:
    fine_tune(on.classes.model, on.classes.pairs(), Sum({"clip": InfoNCE()}), on.classes.config.how(on.steps))


def _lp_ft(on: Lesson) -> Logistic:
    probe = (OneVsRest(text=False) if on.several else Logistic()).fit(on.train, on.text())
    return _from_head(on, (probe.weight_, probe.bias_))


def _wise_ft(on: Lesson) -> Logistic:
    """Half way between the model as it was, with class text for a head, and what becomes of both: the paper's choice without val data."""
    text = on.text()
    if on.several:
        start = OneVsRest(_NAMES_ALONE).fit(on.train, text)
        return _from_head(on, (start.prior_ * text.W_CD, start.bias_), Interpolate())
    return _from_head(on, (text.scale * text.W_CD, torch.zeros(len(text))), Interpolate())


def _from_head(on: Lesson, head: tuple[Tensor, Tensor], merge: Interpolate | None = None) -> Logistic:
    """Fine-tune the image tower together with a head, then go back part of the way if asked."""
    model, objective = on.classes.model, on.objective(head)
    both = torch.nn.ModuleDict({"model": model, "head": objective})
    base = {k: v.detach().clone() for k, v in both.state_dict().items()} if merge else {}
    fine_tune(model, on.source(text=False), objective, on.classes.config.how(on.steps), trainable=image_tower)
    if merge is not None:
        both.load_state_dict(merge_states(merge, base, [{k: v.detach().clone() for k, v in both.state_dict().items()}]))
    return linear_head(model, (objective.weight_CD, objective.bias_C))


WAYS: dict[str, Way] = {
    TRIED: Way("tune/weights/lora", ClipLoraConfig(), to_class_text(
        lambda c: LoRA(c.rank, c.alpha, c.dropout, c.parts, c.towers, seed=c.seed)), names=("LoRA",)),
    "CLIP-SVD": Way("tune/weights/singular_values", ClipSvdConfig(), to_class_text(lambda c: SingularValues(c.parts, c.towers))),
    "LN-tuning": Way("tune/weights/select_params", ClassesConfig(lr=1e-3, weight_decay=0.0), to_class_text(
        lambda c: SelectParams("norm")), names=("LayerNorm tuning", "norm tuning", "NormOnly", "layer norm")),
    "BitFit": Way("tune/weights/select_params", ClassesConfig(lr=1e-3, weight_decay=0.0), to_class_text(
        lambda c: SelectParams("bias")), names=("bias tuning", "BiasOnly", "bias-term fine-tuning", "2106.10199")),
    "FLYP": Way("recipes/flyp", FlypConfig(), _flyp, several=False),
    "LP-FT": Way("recipes/lp_ft", LpFtConfig(), _lp_ft),
    "WiSE-FT": Way("merge/interpolate", WiseFtConfig(), _wise_ft),
}  # fmt: skip


def forced_weights(name: str) -> str | None:
    """The way to tune weights that a name means before anything else, or None. Raises ValueError where it means several."""
    first = next(iter(find(name, 1)), None)
    mine = [] if first is None or score(name, first) < _SURE else [w for w, way in WAYS.items() if way.id == first.id]
    if len(mine) < 2:
        return mine[0] if mine else None
    like = {w: max(SequenceMatcher(None, plain(name), plain(n)).ratio() for n in (w, *WAYS[w].names)) for w in mine}
    best = max(like.values())
    close = [w for w, value in like.items() if value == best]
    if best < 0.7 or len(close) > 1:
        raise ValueError(f"{name!r} means several ways to tune weights: say {' or '.join(mine)}")
    return close[0]
