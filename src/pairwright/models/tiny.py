"""Seeded twins: whole dual encoders of 0.1 to 3 million parameters, for tests, fixtures and mechanism checks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from pairwright.core.numerics import seed_of
from pairwright.models.dual import DualEncoder
from pairwright.models.preprocess import Preprocess
from pairwright.models.tokenize import PlainTokenizer
from pairwright.models.towers.conv import ConvImage
from pairwright.models.towers.text import TextTransformer
from pairwright.models.towers.vit import VisionTransformer


def tiny(
    seed: int = 0,
    *,
    image: Literal["conv", "vit"] = "conv",
    size: int = 32,
    width: int = 64,
    dim: int = 64,
    layers: int = 2,
    patch: int = 8,
    tokenizer: Literal["word", "byte"] = "word",
    vocab: int = 2048,
    context: int = 32,
    logit_bias: float | None = None,
) -> DualEncoder:
    """A small dual encoder with random weights, the same for the same arguments on every machine of one torch version.

    image: ``conv`` (three stages of width/2, width, 2 width channels) or ``vit`` (`layers` blocks, `patch` pixels). width: of the text
    transformer (and the ViT); dim: joint width. It comes with preprocessing and an offline tokenizer, so it embeds and trains as it is.
    """
    if width % 16:
        raise ValueError(f"width must be a multiple of 16 (heads are 16 wide), got {width}")
    words = PlainTokenizer(tokenizer, vocab, context)
    heads = width // 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("tiny", seed))
        tower: nn.Module
        if image == "conv":
            tower = ConvImage(dim=dim, channels=(width // 2, width, 2 * width), size=size)
        elif image == "vit":
            tower = VisionTransformer(size=size, patch=patch, width=width, layers=layers, heads=heads, dim=dim)
        else:
            raise ValueError(f"unknown image tower {image!r}: choose conv or vit")
        text = TextTransformer(vocab=words.vocab_size, context=context, width=width, layers=layers, heads=heads, dim=dim)
        return DualEncoder(
            {"image": tower, "text": text},
            logit_bias=logit_bias,
            preprocess=Preprocess(size=size, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="longest", fill_color=255, on_white=True),
            tokenizer=words,
            config={"tiny": {"seed": seed, "image": image, "size": size, "width": width, "dim": dim}},
        ).eval()
