"""Adapt a model to a few labelled pictures by rescaling the singular values of its own matrices (CLIP-SVD)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pairwright.recipes._class_folder import ClassesConfig, finish, open_classes
from pairwright.recipes._fine_tune import Classify, fine_tune
from pairwright.tune.weights.singular_values import SingularValues


@dataclass(frozen=True)
class ClipSvdConfig(ClassesConfig):
    """Settings of the run; every one can be set with ``--set name=value``. The learning rate is ours: the values are few and large."""

    lr: float = 1e-3
    weight_decay: float = 1e-2
    steps_a_shot: int = 500
    """Steps for each labelled picture of a class, up to 16 of them, where `steps` is 0."""
    parts: tuple[str, ...] = ("q", "k", "v", "o", "*stages.*")
    """Which matrices: of the attention, or the kernels of a convolutional tower; or patterns of names, see `tune.weights.places`."""
    towers: tuple[str, ...] = ("image", "text")


CONFIG = ClipSvdConfig


def clip_svd(data: str | None, out: Path, *, resume: bool = False, config: ClipSvdConfig = ClipSvdConfig()) -> Path:
    """Singular-value few-shot tuning from a folder for each class; writes ``out/model`` with the new values folded in."""
    classes = open_classes(data, config)
    model = classes.model
    steps = config.steps or max(1, round(config.steps_a_shot * min(classes.shots, 16)))
    fine_tune(
        model, classes.labelled(text=True), Classify(float(model.scale.detach())), config.how(steps), out=out, resume=resume,
        modifiers=[SingularValues(config.parts, config.towers)], config=vars(config), save_every=config.save_every,
    )  # fmt: skip
    return finish(classes, Path(out), steps=steps)
