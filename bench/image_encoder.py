"""Preprocessed images to embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.harness import Case, Entry, timed
from bench.twins import close, vit_b_32

N = 32
FLOPS = 2 * 4.366e9
"""Of one image: 4.366 G multiply-adds (12 blocks on 50 tokens, width 768, and the patch embedding)."""


def cases() -> Iterator[Case]:
    theirs, ours = vit_b_32()
    x = torch.randn(N, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    yield Case(
        name="image_encoder",
        title="Image tower, ViT-B-32, fp32",
        inputs=f"{N} images of 224 x 224 in one batch.",
        cost="seconds",
        ours=Entry("pairwright", "model.image(x)", timed(torch.inference_mode()(lambda: ours.image(x).z_BD))),
        peers=[
            Entry(
                "open_clip",
                "model.encode_image(x, normalize=True)",
                timed(torch.inference_mode()(lambda: theirs.encode_image(x, normalize=True))),
            )
        ],
        agree=close,
        rounds=5,
        bar=4.0,
        work=N * FLOPS,
        note="Both run the same arithmetic in fp32, which is bound by the machine's product peak. Fewer bits are what would go beyond it, "
        "where the machine has instructions for them (compare its bf16 and int8 peaks below); token reduction is another way.",
    )
