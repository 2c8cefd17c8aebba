"""What stream heads share: checked views of one image, how sure each view is, and a whole stream in one call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.contracts import StreamHead
from pairwright.heads import inputs


def views_of(views_AD: Any, width: int, encoder: str, who: object) -> Float[Tensor, "A D"]:
    """The views of one image as unit rows; the first is the plain image. Refuses an image without a view."""
    z_AD = inputs.rows(views_AD, width, encoder, who)
    if len(z_AD) == 0:
        raise ValueError(f"{type(who).__name__} got an image without a view: pass at least the plain one, shape (1, {width})")
    return z_AD


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of the softmax over the last dimension."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def confident(logits_AC: Float[Tensor, "A C"], keep: float) -> Tensor:
    """Numbers of the `keep` share of views (at least one) whose predictions have the lowest entropy, surest first."""
    return entropy(logits_AC).argsort(stable=True)[: max(1, int(keep * len(logits_AC) + 1e-9))]


def share(keep: float, name: str = "keep") -> None:
    """Raise unless `keep` is a share of the views."""
    if not 0 < keep <= 1:
        raise ValueError(f"{name} is the share of the views to keep, above 0 and at most 1: got {keep}")


def run(head: StreamHead, images: Iterable[Any]) -> Float[Tensor, "N C"]:
    """Class scores of images that come one after another: `step` on each, in this order, going on from what the head has seen so far.

    images: the views (A, D) of each image, or the rows of a matrix, which are images with one view.
    """
    return torch.stack([head.step(x[None] if x.ndim == 1 else x) for x in images])
