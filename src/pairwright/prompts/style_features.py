"""Style of images: the mean and spread of their patches in every layer of the image tower, stored beside their features."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.encoded import Encoded
from pairwright.core.features import Features, check_finite
from pairwright.core.numerics import full
from pairwright.prompts.images import Images, encode_all
from pairwright.prompts.tokens import frozen

STYLE = "style@"
"""Prefix of the side features that hold a layer's statistics: ``style@0`` … ."""


@torch.no_grad()
def style_features(model: Any, images: Images | Tensor, chunk: int = 64) -> Features:
    """Features of preprocessed images, with each layer's style statistics beside them: ``side["style@l"]`` is (N, 2 E), mean then spread.

    Raises ValueError for an image tower whose layers cannot be read.
    """
    tower = model.towers["image"]
    if not {"taps", "deep"} <= tower.points:
        raise ValueError(f"style is read between the layers of the image tower, and {type(tower).__name__} shows none: load a plain ViT")
    images = images if isinstance(images, Images) else Images(images)
    layers = [str(layer) for layer in range(tower.depth)]

    def look(x_B3HW: Tensor) -> Tensor:
        seen = model.image(x_B3HW, taps=layers)
        return torch.cat([seen.z_BD, *(statistics(seen.taps[layer][:, tower.prefix :]) for layer in layers)], 1)

    with frozen(model):
        parts = encode_all(images, look, model, chunk).cpu()
    if not len(images):
        parts = torch.zeros(0, model.width + 2 * tower.encoder_width * len(layers))
    z_ND, *style = parts.split([model.width, *[2 * tower.encoder_width] * len(layers)], 1)
    side = {f"{STYLE}{layer}": s.contiguous() for layer, s in zip(layers, style)}
    return Features(z_ND.contiguous(), images.y_N, encoder=model.fingerprint, side=side)


def statistics(tokens_BME: Float[Tensor, "B M E"]) -> Float[Tensor, "B W"]:
    """Mean and standard deviation of each image's patches, side by side."""
    tokens_BME = full(tokens_BME)
    return torch.cat([tokens_BME.mean(1), tokens_BME.std(1, correction=0)], 1)


def statistics_of(image: Encoded) -> Float[Tensor, "B J W"]:
    """The stored statistics of all layers; where there are none, those of one patch that is the image itself."""
    names = sorted((n for n in image.taps if n.startswith(STYLE)), key=lambda n: int(n.removeprefix(STYLE)))
    if not names:
        return torch.cat([image.z_BD, torch.zeros_like(image.z_BD)], 1)[:, None]
    if len({image.taps[n].shape[1] for n in names}) > 1:
        raise ValueError("the layers of this image tower differ in width: keep the style statistics of layers of one width")
    return torch.stack([image.taps[n] for n in names], 1)


def encoded(x: Features, model: Any) -> Encoded:
    """Stored features, with their style statistics, on the model's device."""
    style = {name: full(s) for name, s in x.side.items() if name.startswith(STYLE)}
    for s_NW in style.values():
        check_finite(s_NW)
    return Encoded(x.z_ND, taps=style).map(lambda t: t.to(model.device))
