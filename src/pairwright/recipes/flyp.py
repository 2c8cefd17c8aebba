"""Fine-tune both towers as they were pretrained: the contrastive loss on captions made from the classes (FLYP)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pairwright.core.card import Card
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.recipes._class_folder import ClassesConfig, finish, open_classes
from pairwright.recipes._fine_tune import fine_tune
from pairwright.train.objective import Sum

CARD = Card(
    name="FLYP (finetune like you pretrain)",
    symbol="flyp",
    paper="extra:flyp",
    title="Finetune Like You Pretrain: Improved Finetuning of Zero-Shot Vision Models",
    year=2023,
    arxiv="2212.00638",
    where="section 3, algorithm 1",
    equation="min over both towers of InfoNCE(image_i, caption of class y_i in a drawn template), positives = rows of the same class",
    says="Fine-tuning with the pretraining loss on class captions beats cross-entropy fine-tuning in and out of distribution.",
    needs="labelled images + class names + the text tower",
    cost="a training step costs both towers on the batch; larger batches hold more classes",
    use_when="class names that mean something, batches that hold many classes, and a classifier that stays open to new names",
    not_when="fewer classes than rows in a batch and no val data: rows of one class teach little about the others",
    aliases=("finetune like you pretrain", "contrastive fine-tuning"),
    neighbours=("recipes/lp_ft", "losses/contrast/info_nce"),
    deviations=(
        "rows of one class are positives of each other; the released code marks the diagonal only, so that two pictures of a class push "
        "each other's caption away. With one row a class in the batch the two are the same",
        "not seen: a gain over cross-entropy through the text tower, which was level with it on vector scenes, in distribution and under "
        "another style; the check claims only what it wins over LP-FT",
    ),
    checks=("mechanism:flyp",),
)


@dataclass(frozen=True)
class FlypConfig(ClassesConfig):
    """Settings of the run; every one can be set with ``--set name=value``."""

    template: str = "openai_imagenet"
    """One sentence or the name of a shipped list: one is drawn for each picture and pass."""
    batch: int = 128
    warmup: float = 0.1
    epochs: float = 10.0
    """Passes over the training pictures where `steps` is 0."""


CONFIG = FlypConfig


def flyp(data: str | None, out: Path, *, resume: bool = False, config: FlypConfig = FlypConfig()) -> Path:
    """Fine-tune both towers with the contrastive loss on class captions, from a folder for each class; writes ``out/model``.

    The result classifies with its own class text, and stays open to new names.
    """
    classes = open_classes(data, config)
    source = classes.pairs()
    steps = config.steps or max(1, round(config.epochs * len(classes.train) / source.batch_size))
    fine_tune(
        classes.model, source, Sum({"clip": InfoNCE()}), config.how(steps), out=out, resume=resume, config=vars(config),
        save_every=config.save_every,
    )  # fmt: skip
    return finish(classes, Path(out), steps=steps)
