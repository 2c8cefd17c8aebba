"""The one fitting loop of all prompt learners: cross-entropy of images against class text, either or both made by learned tokens.

Tokens on the text side alone learn from cached features: images were embedded once, before, and only the text tower runs in a step, on one
row a class. Tokens inside the image tower learn from preprocessed images. A method adds terms to the loss, or a rule that combines the
gradients of the parts; it never writes a loop of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from pairwright.core.contracts import PromptLearner
from pairwright.core.encoded import Encoded
from pairwright.core.features import Features, check_finite, check_same_encoder
from pairwright.core.numerics import generator
from pairwright.prompts.images import Images
from pairwright.prompts.tokens import frozen


@dataclass(frozen=True)
class Descent:
    """How learned tokens are trained: stochastic gradient steps, a first epoch at a small rate, then a cosine towards zero by epoch.

    epochs: None takes CoOp's 50, 100 or 200 for 1, up to 4, or more shots a class. batch: rows a step. optimizer: ``sgd`` (with `momentum`)
    or ``adamw``. decay: weight decay of the tokens. first_lr: rate of the first epoch. most_steps: ceiling that cuts the number of epochs
    (never below one), and the schedule with it. 0 epochs leave the start as it is.
    """

    lr: float = 2e-3
    epochs: int | None = None
    batch: int = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    decay: float = 5e-4
    first_lr: float = 1e-5
    most_steps: int = 2000

    def rates(self, rows: int, shots: float) -> list[float]:
        """The learning rate of each epoch."""
        epochs = (50 if shots <= 1 else 100 if shots <= 4 else 200) if self.epochs is None else self.epochs
        if not rows or not epochs:
            return []
        epochs = max(1, min(epochs, self.most_steps // math.ceil(rows / self.batch)))
        cosine = [self.lr * (1 + math.cos(math.pi * e / epochs)) / 2 for e in range(epochs)]
        return cosine if epochs == 1 else [self.first_lr, *cosine[1:]]

    def optimiser(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, self.lr, momentum=self.momentum, weight_decay=self.decay)
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, self.lr, weight_decay=self.decay)
        raise ValueError(f"unknown optimizer {self.optimizer!r}: choose sgd or adamw")


@dataclass(frozen=True)
class Step:
    """What one step made, for terms of the loss: text is (C, D), or (B, C, D) where it depends on the image; y_B holds the labels, rows_B
    the places of the batch in the training set."""

    text: Tensor
    logits_BC: Tensor
    y_B: Tensor
    image: Encoded
    rows_B: Tensor | None = None


class Term(Protocol):
    """An addition to the loss: a step -> a scalar, weight included. `name` tells gradient rules which part it is."""

    name: str

    def __call__(self, step: Step) -> Tensor: ...


Look = Callable[[Tensor], Encoded]
"""Rows of the training set (B,) -> their encoded images."""

GradientRule = Callable[[Mapping[str, Sequence[Tensor]]], Sequence[Tensor]]
"""Gradients of the parts by name (``"task"`` is the cross-entropy), one for each parameter -> the gradients to descend."""


def fit_tokens(
    learner: PromptLearner,
    model: Any,
    ids_CL: Int[Tensor, "C L"],
    z_ND: Float[Tensor, "N D"] | Look,
    y_N: Int[Tensor, " N"],
    parameters: Sequence[Tensor],
    *,
    terms: Sequence[Term] = (),
    rule: GradientRule | None = None,
    after_epoch: Callable[[int, int], None] | None = None,
    how: Descent,
    seed: int = 0,
) -> Float[Tensor, " S"]:
    """Train learned tokens so that learner.class_text(model, ids) classifies the rows z; returns the task loss (S,) of each step.

    z_ND: cached features, or a function that encodes the images of some rows with the tokens as they are. parameters: leaves, changed in
    place; where all of them are empty there is nothing to train. Without a rule the gradient is that of the sum of cross-entropy and terms.
    Class text that no learned token reaches is made once. after_epoch(epoch, epochs): called behind each epoch, counted from 0. The model
    is left as it was, bit for bit. The same inputs give the same tokens; batches are drawn by a generator keyed by `seed`.
    """
    N, y_N, parameters = len(y_N), y_N.to(model.device), [p for p in parameters if p.numel()]
    look = z_ND if callable(z_ND) else _cached(z_ND.to(model.device))
    if not parameters:
        return torch.zeros(0, device=model.device)
    rates, optimiser = how.rates(N, N / max(1, len(y_N.unique()))), how.optimiser(parameters)
    text, losses = None, []
    with frozen(model):
        for epoch, rate in enumerate(rates):
            for group in optimiser.param_groups:
                group["lr"] = rate
            order = torch.randperm(N, generator=generator("prompts", seed, epoch, N)).to(model.device)
            for rows in order.split(how.batch):
                image = look(rows)
                if text is None or text.requires_grad or text.ndim == 3:
                    text = learner.class_text(model, ids_CL, image)
                logits_BC = scores(text, image.z_BD, model.scale)
                step = Step(text, logits_BC, y_N[rows], image, rows)
                parts = {"task": cross_entropy(logits_BC, y_N[rows]), **{t.name: t(step) for t in terms}}
                for p, g in zip(parameters, _gradient(parts, parameters, rule)):
                    p.grad = g
                optimiser.step()
                losses.append(parts["task"].detach())
            if after_epoch is not None:
                after_epoch(epoch, len(rates))
    for p in parameters:
        p.grad = None
    return torch.stack(losses) if losses else torch.zeros(0, device=model.device)


def scores(text: Tensor, z_ND: Tensor, scale: float | Tensor) -> Float[Tensor, "N C"]:
    """Scaled cosines of rows with class text (C, D), or with a class text of their own (N, C, D)."""
    return scale * (z_ND @ text.T if text.ndim == 2 else torch.einsum("nd,ncd->nc", z_ND, text))


def rows_of(train: Features | None, model: Any, who: object) -> Tensor:
    """Features of images that were embedded by `model`, checked: (N, D)."""
    if not isinstance(train, Features):
        raise ValueError(f"{type(who).__name__} learns from cached image features: pass train=Features(z, y), made by this model")
    check_finite(train.z_ND)
    check_same_encoder(train, Features(torch.zeros(0, model.width), encoder=model.fingerprint))
    return train.z_ND


def labels_of(train: Features | Images, classes: int, who: object) -> Tensor:
    """One label per row (N,), each one of 0 … classes - 1."""
    if train.y_N is None or train.y_N.ndim != 1:
        found = "y_N=None" if train.y_N is None else f"labels of shape {tuple(train.y_N.shape)}"
        raise ValueError(f"{type(who).__name__} needs one class per row; these {len(train)} rows have {found}")
    bad = (train.y_N < 0) | (train.y_N >= classes)
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"label {int(train.y_N[row])} (row {row}) is outside of the {classes} class names: name the class, or map labels first"
        )
    return train.y_N


def _cached(z_ND: Tensor) -> Look:
    return lambda rows: Encoded(z_ND[rows])


def _gradient(parts: Mapping[str, Tensor], parameters: Sequence[Tensor], rule: GradientRule | None) -> Sequence[Tensor]:
    grad = lambda loss: torch.autograd.grad(loss, parameters, retain_graph=rule is not None, allow_unused=True, materialize_grads=True)
    return grad(sum(parts.values())) if rule is None else rule({name: grad(loss) for name, loss in parts.items()})
