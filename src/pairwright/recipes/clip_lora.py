"""Adapt a model to a few labelled pictures with rank-2 updates in both towers, one fixed setting for all data (CLIP-LoRA)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pairwright.recipes._class_folder import ClassesConfig, finish, open_classes
from pairwright.recipes._fine_tune import Classify, fine_tune
from pairwright.tune.weights.lora import LoRA


@dataclass(frozen=True)
class ClipLoraConfig(ClassesConfig):
    """Settings of the run, the paper's; every one can be set with ``--set name=value``."""

    lr: float = 2e-4
    weight_decay: float = 1e-2
    steps_a_shot: int = 500
    """Steps for each labelled picture of a class, up to 16 of them, where `steps` is 0."""
    rank: int = 2
    alpha: float = 1.0
    dropout: float = 0.25
    parts: tuple[str, ...] = ("q", "k", "v", "*stages.*")
    """Which matrices: of the attention, or the kernels of a convolutional tower; or patterns of names, see `tune.weights.places`."""
    towers: tuple[str, ...] = ("image", "text")


CONFIG = ClipLoraConfig


def clip_lora(data: str | None, out: Path, *, resume: bool = False, config: ClipLoraConfig = ClipLoraConfig()) -> Path:
    """Low-rank few-shot tuning from a folder for each class; writes ``out/model`` with the updates folded in."""
    classes = open_classes(data, config)
    model = classes.model
    lora = LoRA(config.rank, config.alpha, config.dropout, config.parts, config.towers, seed=config.seed)
    steps = config.steps or max(1, round(config.steps_a_shot * min(classes.shots, 16)))
    fine_tune(
        model, classes.labelled(text=True), Classify(float(model.scale.detach())), config.how(steps), out=out, resume=resume,
        modifiers=[lora], config=vars(config), save_every=config.save_every,
    )  # fmt: skip
    return finish(classes, Path(out), steps=steps)
