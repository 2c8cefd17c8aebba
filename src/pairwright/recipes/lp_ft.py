"""Train a linear probe first, then fine-tune the image tower from there (LP-FT)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pairwright.core import io
from pairwright.core.card import Card
from pairwright.heads.linear.logistic import Logistic
from pairwright.recipes._class_folder import ClassesConfig, finish, open_classes
from pairwright.recipes._fine_tune import Classify, fine_tune, image_tower

CARD = Card(
    name="LP-FT (linear probing, then fine-tuning)",
    symbol="lp_ft",
    paper="extra:lp-ft",
    title="Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
    year=2022,
    arxiv="2202.10054",
    where="section 3.4 and section 4",
    equation="(W, b) = linear probe on frozen features;  then min over (theta, W, b) of CE(f_theta(x) W^T + b, y) from there",
    says="Fine-tuning from a random head bends the features before the head is any good; starting from a linear probe's head it changes "
    "them less, and is better in and out of distribution.",
    needs="labelled images; class names are not used",
    cost="one pass over the images for the probe, then that of fine-tuning the image tower",
    use_when="classes whose names mean nothing to the text tower, with enough labels to move the whole tower",
    not_when="good class names: a head that starts as class text (wise_ft, clip_lora) starts better still",
    aliases=("linear probe then fine-tune", "LP then FT", "feature distortion"),
    neighbours=("heads/linear/logistic",),
    deviations=(
        "the probe is the converged logistic regression of heads/linear/logistic; the paper's is swept on val, which ours does where val "
        "data are given. Effect unknown",
    ),
    checks=("mechanism:lp_ft",),
)


@dataclass(frozen=True)
class LpFtConfig(ClassesConfig):
    """Settings of the run; every one can be set with ``--set name=value``. Val data, where given, choose the probe's penalty."""

    epochs: float = 10.0
    """Passes over the training pictures where `steps` is 0."""


CONFIG = LpFtConfig


def lp_ft(data: str | None, out: Path, *, resume: bool = False, config: LpFtConfig = LpFtConfig()) -> Path:
    """Fine-tune the image tower on a folder for each class from a linear probe's head; writes ``out/model``, ``out/head.safetensors``."""
    out = Path(out)
    classes = open_classes(data, config)
    file = out / "probe.safetensors"
    if resume and file.is_file():
        tensors, _ = io.load_tensors(file, kind="linear probe")
    else:
        val = classes.features("val") if len(classes.val) else None
        probe = Logistic().fit(classes.features("train"), val=val)
        tensors = {"weight": probe.weight_, "bias": probe.bias_}
        io.save_tensors(file, tensors, {"kind": "linear probe", "l2": probe.l2_})
    source = classes.labelled(text=False)
    steps = config.steps or max(1, round(config.epochs * len(classes.train) / source.batch_size))
    objective = Classify(head=(tensors["weight"], tensors["bias"]))
    fine_tune(
        classes.model, source, objective, config.how(steps), trainable=image_tower, out=out, resume=resume, config=vars(config),
        save_every=config.save_every,
    )  # fmt: skip
    return finish(classes, out, (objective.weight_CD, objective.bias_C), steps=steps)
