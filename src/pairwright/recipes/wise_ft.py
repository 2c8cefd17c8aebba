"""Fine-tune the image tower from a class-text head, then go back half way to the zero-shot weights (WiSE-FT)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pairwright.merge.alpha_sweep import AlphaSweep
from pairwright.merge.interpolate import Interpolate
from pairwright.merge.weights import merge_states
from pairwright.recipes._class_folder import ClassesConfig, finish, linear_head, open_classes
from pairwright.recipes._fine_tune import Classify, fine_tune, image_tower


@dataclass(frozen=True)
class WiseFtConfig(ClassesConfig):
    """Settings of the run; every one can be set with ``--set name=value``."""

    template: str = "simple"
    lr: float = 3e-5
    warmup: float = 0.1
    epochs: float = 10.0
    """Passes over the training pictures where `steps` is 0."""
    alpha: float = -1.0
    """Share of the fine-tuned weights, 0 to 1. Below 0 it is chosen on val data where there are any, and is 0.5 without."""


CONFIG = WiseFtConfig


def wise_ft(data: str | None, out: Path, *, resume: bool = False, config: WiseFtConfig = WiseFtConfig()) -> Path:
    """Fine-tune on a folder for each class, interpolate, and write ``out/model`` and ``out/head.safetensors``; the curve over alpha, where
    one was made, is in ``out/classes.json``."""
    out = Path(out)
    classes = open_classes(data, config)
    model, text = classes.model, classes.text()
    objective = Classify(head=(text.scale * text.W_CD, torch.zeros(len(text))))
    both = torch.nn.ModuleDict({"model": model, "head": objective})
    base = _copy(both)
    source = classes.labelled(text=False)
    steps = config.steps or max(1, round(config.epochs * len(classes.train) / source.batch_size))
    fine_tune(
        model, source, objective, config.how(steps), trainable=image_tower, out=out, resume=resume, config=vars(config),
        save_every=config.save_every,
    )  # fmt: skip
    tuned = _copy(both)

    def score(state: dict[str, Tensor]) -> float:
        both.load_state_dict(state)
        val = classes.features("val")
        logits_NC = linear_head(model, (objective.weight_CD, objective.bias_C)).logits(val)
        return float((logits_NC.argmax(1) == val.y).double().mean())

    sweep = AlphaSweep()
    alpha = config.alpha if config.alpha >= 0 else sweep.search(base, tuned, score if len(classes.val) else None)
    both.load_state_dict(merge_states(Interpolate(alpha), base, [tuned]))
    facts = {"steps": steps, "alpha": alpha, "alpha_curve": getattr(sweep, "curve_", [])}
    return finish(classes, out, (objective.weight_CD, objective.bias_C), **facts)


def _copy(module: torch.nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in module.state_dict().items()}
