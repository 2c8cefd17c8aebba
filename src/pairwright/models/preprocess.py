"""From a picture to the tensor that an image tower was trained on: resize, crop or pad, normalise. PIL and numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Preprocess:
    """PIL image -> float32 tensor (3, H, W), as open_clip's evaluation transform makes it (within 1/255 before normalisation).

    size: side in pixels, or (height, width). resize_mode: ``shortest`` (shortest side to size, then centre crop), ``longest`` (longest
    side to size, then pad with fill_color) or ``squash`` (ignore the aspect ratio). on_white: put transparent pictures on white first
    (open_clip drops the alpha channel, which shows whatever colour hides behind transparent pixels).
    """

    size: int | tuple[int, int] = 224
    mode: str = "RGB"
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int | tuple[int, ...] = 0
    on_white: bool = False

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("fill_color", self.fill_color)):
            if isinstance(value, Sequence):
                object.__setattr__(self, name, tuple(value))
        if isinstance(self.size, tuple):
            object.__setattr__(self, "size", self.size[0] if len(set(self.size)) == 1 else self.size)
        for name in ("mean", "std"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, Sequence) else (float(value),) * 3)
        if self.interpolation == "random":  # open_clip's name for "drawn in training, bicubic in evaluation"
            object.__setattr__(self, "interpolation", "bicubic")
        if self.interpolation not in FILTERS or self.resize_mode not in ("shortest", "longest", "squash") or self.mode != "RGB":
            raise ValueError(
                f"cannot preprocess with interpolation={self.interpolation!r}, resize_mode={self.resize_mode!r}, mode={self.mode!r}: use "
                "bicubic or bilinear, shortest or longest or squash, RGB"
            )

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Preprocess:
        """From a ``preprocess_cfg``; keys that this class does not know and None values are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in config.items() if k in known and v is not None})

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the numbers, as JSON: part of a model's fingerprint."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def hw(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def __call__(self, image: Image.Image) -> Tensor:
        return self.normalise(torch.as_tensor(np.array(self.pixels(image)))[None])[0]

    def normalise(self, pixels_BHW3: Tensor) -> Tensor:
        """uint8 pictures (B, H, W, 3) -> what the tower takes, float32 (B, 3, H, W), on whatever device they are.

        On a GPU the result stays channels last in memory, as its convolutions like it.
        """
        x_B3HW = pixels_BHW3.permute(0, 3, 1, 2)
        if not x_B3HW.is_cuda:
            x_B3HW = x_B3HW.contiguous()
        mean, std = (torch.tensor(v, device=x_B3HW.device)[:, None, None] for v in (self.mean, self.std))
        return x_B3HW.float().div_(255).sub_(mean).div_(std)

    def pixels(self, image: Image.Image) -> Image.Image:
        """The resized, cropped or padded RGB picture before normalisation: what the tower sees."""
        if self.on_white:
            image = on_white(image)
        h, w = self.hw
        resample = FILTERS[self.interpolation]
        if self.resize_mode == "squash":
            return image.resize((w, h), resample).convert("RGB")
        W, H = image.size
        if self.resize_mode == "longest":
            ratio = max(H / h, W / w)
            new = (round(H / ratio), round(W / ratio))
        elif h == w:  # the short side exactly, the long side rounded down
            new = (h, int(h * W / H)) if H <= W else (int(w * H / W), w)
        else:  # open_clip resizes for targets that are not square with bicubic always
            ratio = min(H / h, W / w)
            new = (round(H / ratio), round(W / ratio))
            resample = Image.Resampling.BICUBIC
        new = (max(1, new[0]), max(1, new[1]))
        if new != (H, W):
            image = image.resize((new[1], new[0]), resample)
        fill = self.fill_color if self.resize_mode == "longest" else 0
        return _centre(image, h, w, fill).convert("RGB")


def on_white(image: Image.Image) -> Image.Image:
    """A picture with transparency, composed on white -> RGB. Others are only converted."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _centre(image: Image.Image, h: int, w: int, fill: int | tuple[int, ...]) -> Image.Image:
    """Centre crop to (h, w); what is missing on a side is padded, the odd pixel on the right and at the bottom."""
    W, H = image.size
    if w > W or h > H:
        if image.mode != "RGB":
            image = image.convert("RGB")
        padded = Image.new("RGB", (max(W, w), max(H, h)), (fill,) * 3 if isinstance(fill, int) else fill)
        padded.paste(image, (max(0, w - W) // 2, max(0, h - H) // 2))
        image, (W, H) = padded, padded.size
    left, top = round((W - w) / 2.0), round((H - h) / 2.0)
    return image if (w, h) == (W, H) else image.crop((left, top, left + w, top + h))
