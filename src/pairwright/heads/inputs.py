"""What heads accept, checked once: labelled features, class text, and rows to classify."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features, as_tensor, check_finite, check_same_encoder
from pairwright.core.numerics import unit


def labelled(train: Features | None, text: ClassText | None, who: object) -> tuple[Features, Tensor, int]:
    """Training features, their labels (N,) and the number of classes, checked against each other and against the class text.

    train: Features with one integer label per row. The number of classes is that of the text, else
    of `train.classes`, else the highest label + 1. Zero rows are allowed: a head without shots falls back on its text.
    """
    name = type(who).__name__
    if train is None:
        raise ValueError(f"{name} learns from labelled features: pass train=Features(z, y)")
    if train.y_N is None:
        raise ValueError(f"{name} needs labels: these {len(train)} features have y_N=None")
    if train.y_N.ndim != 1:
        raise ValueError(f"{name} takes one class per row; these labels are multi-hot of shape {tuple(train.y_N.shape)}")
    check_finite(train.z_ND)
    check_same_encoder(train, text)
    y_N = train.y_N
    highest = int(y_N.max()) if len(y_N) else -1
    classes = len(text) if text is not None else max(len(train.classes), highest + 1)
    bad = (y_N < 0) | (y_N >= classes)
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"label {int(y_N[row])} (row {row}) is outside of the {classes} classes 0 … {classes - 1}: add the class, or map labels first"
        )
    return train, y_N, classes


def class_text_of(text: ClassText | None, who: object) -> ClassText:
    """The class text, refused with the fix when it is missing or holds bad rows."""
    if text is None:
        raise ValueError(f"{type(who).__name__} needs class text: pass text=class_text(model, names, templates)")
    check_finite(text.W_CD)
    return text


def rows(z: Any, width: int, encoder: str, who: object) -> Tensor:
    """Rows to classify -> (N, D) float32. Features are taken as they are and must be of the same encoder; other arrays are normalised."""
    if isinstance(z, Features):
        check_same_encoder(z, Features(torch.zeros(0, width), encoder=encoder))
        z_ND = z.z_ND
        check_finite(z_ND)
        return z_ND
    z_ND = as_tensor(z)
    if z_ND.ndim != 2 or z_ND.shape[1] != width:
        raise ValueError(f"{type(who).__name__} was fitted on rows of width {width}, got an array of shape {tuple(z_ND.shape)}")
    check_finite(z_ND)
    return unit(z_ND)


def fitted(head: object, name: str) -> None:
    """Raise unless `fit` has run."""
    if not hasattr(head, name):
        raise ValueError(f"this {type(head).__name__} is not fitted yet: call fit(train, text) first")


def class_sums(z_ND: Tensor, y_N: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Sum of rows (C, D) and number of rows (C,) of each class."""
    sum_CD = z_ND.new_zeros(classes, z_ND.shape[1]).index_add_(0, y_N, z_ND)
    return sum_CD, torch.bincount(y_N, minlength=classes).to(z_ND.dtype)


def accuracy(logits_NC: Tensor, y_N: Tensor) -> float:
    """Share of right arg-maxima: how hyper-parameters are compared on `val`."""
    return float((logits_NC.argmax(1) == y_N).double().mean())
