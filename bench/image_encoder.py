"""Preprocessed images to embeddings: the backend that this machine chose against open_clip as it comes and at its best setting."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from bench.harness import Case, Entry, timed
from bench.twins import chosen, near, vit_b_32
from bench.where import sentence
from pairwright.compress.cost import cost
from pairwright.models.backend import eager, packed

N = 64


def cases() -> Iterator[Case]:
    theirs, ours = vit_b_32()
    x = torch.randn(N, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    run = chosen(ours, x)
    tower = ours.towers["image"]
    seen = eager.runner(packed.pack(tower), torch.bfloat16, 2 * eager.CHUNK) if packed.supported() else tower
    mine = Entry("pairwright", f"backend(model, x, precision='auto') -> {run.name}", timed(torch.inference_mode()(lambda: run(x))))
    shape = {
        "inputs": f"{N} images of 224 x 224 in one batch; seeded random weights.",
        "cost": "seconds",
        "agree": near,
        "rounds": 5,
        "work": N * cost(tower).flops,
        "peak": run.precision if run.precision in ("bf16", "int8") else "fp32",
    }
    yield Case(
        name="image_encoder",
        title="Image tower, ViT-B-32, against open_clip as it comes",
        ours=mine,
        peers=[
            Entry(
                "open_clip fp32",
                "model.encode_image(x, normalize=True)",
                timed(torch.inference_mode()(lambda: theirs.encode_image(x, normalize=True))),
            )
        ],
        bar=4.0,
        note="The choice was made once, by measurement, among what runs on this machine with a cosine of at least 0.999 to fp32 in every "
        "row.",
        **shape,
    )
    bf16 = copy.deepcopy(theirs).bfloat16()
    yield Case(
        name="image_encoder_best",
        title="Image tower, ViT-B-32, against open_clip at its best",
        ours=mine,
        peers=[
            Entry(
                "open_clip bf16",
                "model.bfloat16().encode_image(x.bfloat16(), normalize=True)",
                timed(torch.inference_mode()(lambda: bf16.encode_image(x.bfloat16(), normalize=True))),
            )
        ],
        bar=1.2,
        note="What is won over plain bf16: weights are laid out once instead of on every call, bias, residual and activation are taken "
        "within the product, the last block computes the class token alone, and each processor thread has images of its own, so that none "
        "waits for another. What bounds it are the products of width 768, which run below the peak of large square ones, and what stands "
        "between them. " + sentence(torch.inference_mode()(lambda: seen(x))),
        **shape,
    )
