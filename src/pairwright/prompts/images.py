"""Preprocessed images with labels: what learners with tokens inside the image tower are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.features import as_tensor


@dataclass(frozen=True)
class Images:
    """N preprocessed images, in memory or decoded on demand, and their labels.

    x: tensor (N, 3, H, W), or anything with a length whose ``x[rows]`` gives the images (B, 3, H, W) of an int64 tensor of rows. y_N: one
    label a row, or None. Preprocess with the model's own ``model.preprocess``.

    >>> Images(torch.zeros(4, 3, 8, 8), [0, 1, 0, 1]).batch(torch.tensor([3, 0])).shape
    torch.Size([2, 3, 8, 8])
    """

    x: Any
    y_N: Tensor | None = None

    def __post_init__(self) -> None:
        if self.y_N is not None:
            object.__setattr__(self, "y_N", as_tensor(self.y_N, torch.int64))
            if len(self.y_N) != len(self.x):
                raise ValueError(f"{len(self.x)} images but {len(self.y_N)} labels")

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows_B: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """The images of some rows on a device, checked."""
        x_B3HW = self.x[rows_B.cpu()]
        B = len(rows_B)
        if not (isinstance(x_B3HW, Tensor) and x_B3HW.ndim == 4 and x_B3HW.is_floating_point() and len(x_B3HW) == B):
            found = f"{x_B3HW.dtype} {tuple(x_B3HW.shape)}" if isinstance(x_B3HW, Tensor) else type(x_B3HW).__name__
            raise ValueError(f"images are a float tensor ({B}, 3, H, W) for {B} rows, got {found}: stack model.preprocess(image)")
        bad = ~torch.isfinite(x_B3HW).flatten(1).all(1)
        if bad.any():
            raise ValueError(f"the image of row {int(rows_B[int(bad.nonzero()[0])])} holds NaN or infinities: drop it, or load it again")
        return x_B3HW.to(device)

    def rows(self, index: Tensor | Sequence[int]) -> Images:
        """A subset (or reordering) of the rows."""
        i = torch.as_tensor(index).long()
        return Images(self.x[i], None if self.y_N is None else self.y_N[i])


def images_of(train: Images | None, who: object) -> Images:
    """The training images of a learner; anything else is refused with the reason."""
    if not isinstance(train, Images):
        raise ValueError(f"{type(who).__name__} has tokens inside the image tower and learns from images: pass train=Images(x_N3HW, y)")
    return train


def encode_all(images: Images, encode: Callable[[Tensor], Tensor], model: Any, chunk: int = 64) -> Float[Tensor, "N D"]:
    """``encode(x_B3HW)`` of all images, `chunk` at a time."""
    parts = [encode(images.batch(rows, model.device)) for rows in torch.arange(len(images)).split(chunk) if len(rows)]
    return torch.cat(parts) if parts else torch.zeros(0, model.width, device=model.device)
