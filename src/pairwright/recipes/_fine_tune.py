"""Fine-tune a model for given classes: cross-entropy of images against class text, or against a linear head, in the one training loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from pairwright.core import dist
from pairwright.core.contracts import Modifier
from pairwright.core.encoded import Views
from pairwright.core.numerics import full, generator
from pairwright.data.text.templates import fill
from pairwright.models.dual import DualEncoder
from pairwright.train.loop import run
from pairwright.train.objective import Sum
from pairwright.train.optim import OptimConfig
from pairwright.train.stage import Batch, Source, Stage, everything


@dataclass(frozen=True)
class How:
    """How long and how fast: AdamW with a cosine towards zero, as few-shot methods use it. warmup is a share of the steps."""

    steps: int = 500
    lr: float = 2e-4
    weight_decay: float = 1e-2
    warmup: float = 0.0
    clip_norm: float = 0.0
    micro: int = 0
    seed: int = 0
    precise: str = "auto"

    def optim(self) -> OptimConfig:
        return OptimConfig(
            self.lr, self.weight_decay, betas=(0.9, 0.999), eps=1e-8, warmup=round(self.warmup * self.steps), clip_norm=self.clip_norm
        )


class Classify(nn.Module):
    """Cross-entropy of image embeddings against classes, averaged over rows; `views.group_B` holds the labels.

    Without a head the classes are the rows of the view ``text`` (class text that the text tower makes anew in each step) and logits are
    scale * cosine, the scale fixed as in zero-shot. With head=(W_CD, b_C) the classes are a linear layer that is learned too. Where a row
    may have several classes, y_NC holds 0 and 1 for each, `views.group_B` the number of the row, and the loss is binary cross-entropy,
    averaged over the classes too; class text then takes bias_C, from where a bias for each class is learned.
    """

    def __init__(
        self, scale: float = 100.0, head: tuple[Tensor, Tensor] | None = None, *, y_NC: Tensor | None = None, bias_C: Tensor | None = None
    ) -> None:
        super().__init__()
        self.scale = scale
        weight_CD, bias_C = (None, bias_C) if head is None else head
        self.weight_CD, self.bias_C = (None if t is None else nn.Parameter(t.detach().float().clone()) for t in (weight_CD, bias_C))
        self.register_buffer("y_NC", None if y_NC is None else y_NC.float(), persistent=False)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("image", "text") if self.weight_CD is None else ("image",)

    def logits(self, z_ND: Tensor, text_CD: Tensor | None = None) -> Tensor:
        """Class scores (N, C) of unit rows."""
        logits_NC = z_ND @ self.weight_CD.T if text_CD is None else self.scale * z_ND @ text_CD.T
        return logits_NC if self.bias_C is None else logits_NC + self.bias_C

    def forward(self, views: Views) -> Tensor:
        text_CD = views["text"].z_BD if self.weight_CD is None else None
        logits_BC = full(self.logits(views["image"].z_BD, text_CD))
        if self.y_NC is None:
            return cross_entropy(logits_BC, views.group_B)
        return binary_cross_entropy_with_logits(logits_BC, self.y_NC[views.group_B])


class Rows:
    """Source of batches from tensors in memory: what the image tower eats (N, …), labels (N,), and prompts of the classes.

    Each epoch is a permutation keyed by the seed, without a rest, so a batch follows from its step alone.
    """

    def __init__(self, x_N: Tensor, y_N: Tensor, ids_CL: Tensor | None = None, *, batch: int = 32, seed: int = 0) -> None:
        if len(x_N) != len(y_N) or not len(x_N):
            raise ValueError(f"fine-tuning needs images with one label each; got {len(x_N)} images and {len(y_N)} labels")
        self.x_N, self.y_N, self.seed = x_N, y_N, seed
        self.fixed = {} if ids_CL is None else {"text": ids_CL}
        self.batch_size = max(1, min(batch, len(x_N)) // dist.world()) * dist.world()

    def spec(self) -> Mapping[str, Any]:
        return {"kind": "rows", "n": len(self.x_N), "batch_size": self.batch_size, "seed": self.seed}

    def batches(self, start: int) -> Iterator[Batch]:
        a_epoch, share, step = max(1, len(self.x_N) // self.batch_size), self.batch_size // dist.world(), start
        while True:
            epoch, at = divmod(step, a_epoch)
            order_N = torch.randperm(len(self.x_N), generator=generator("rows", self.seed, epoch))
            mine = order_N[at * self.batch_size + dist.rank() * share :][:share]
            yield Batch({"image": self.x_N[mine], **self.fixed}, group_B=self.y_N[mine])
            step += 1


def class_ids(model: DualEncoder, names: Sequence[str], template: str = "a photo of a {}") -> Tensor:
    """Token ids of one prompt for each class, (C, L)."""
    if getattr(model, "tokenizer", None) is None:
        raise ValueError("this model has no tokenizer: load it with pairwright.load, or set model.tokenizer")
    return model.tokenizer([fill(template, str(name)) for name in names])


def fine_tune(
    model: DualEncoder,
    source: Source,
    objective: Classify | Sum,
    how: How = How(),
    *,
    modifiers: Sequence[Modifier] = (),
    trainable: Callable[[str], bool] = everything,
    out: str | Path | None = None,
    **run_options: Any,
) -> DualEncoder:
    """Fine-tune `model` in place on batches of labelled images; an objective with a head learns that too.

    trainable: which parameters move, by name; modifiers (LoRA and its kind) choose by themselves and are folded in at the end. out: the
    run's folder; a temporary one if None. run_options: for `train.loop.run`, such as resume and config.
    """
    loss = objective if isinstance(objective, Sum) else Sum({"classes": objective})
    stage = Stage(
        "classes", loss, source, how.steps, how.optim(), trainable=trainable, micro=how.micro or None, modifiers=tuple(modifiers)
    )  # fmt: skip
    with tempfile.TemporaryDirectory() if out is None else nullcontext(out) as folder:
        if how.steps:
            run(model, [stage], folder, seed=how.seed, precise=how.precise, show=out is not None, **run_options)
    return model


def image_tower(name: str) -> bool:
    """Whether a parameter belongs to the image tower."""
    return name.startswith("towers.image.")
