"""Short captions to embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.harness import Case, Entry, timed
from bench.twins import close, vit_b_32

N = 256


def captions() -> torch.Tensor:
    """Token ids of N captions of 5 to 12 tokens, start and end token among them, padded to 77."""
    g = torch.Generator().manual_seed(0)
    ids = torch.zeros(N, 77, dtype=torch.long)
    for row, length in zip(ids, torch.randint(5, 13, (N,), generator=g).tolist(), strict=True):
        row[:length] = torch.randint(320, 49_000, (length,), generator=g)
        row[0], row[length - 1] = 49_406, 49_407
    return ids


def cases() -> Iterator[Case]:
    theirs, ours = vit_b_32()
    ids = captions()
    yield Case(
        name="text_short_captions",
        title="Text tower, ViT-B-32, captions of at most 12 tokens",
        inputs=f"{N} captions of 5 to 12 tokens in one batch, fp32.",
        cost="seconds",
        ours=Entry("pairwright", "model.text(ids)", timed(torch.inference_mode()(lambda: ours.text(ids).z_BD))),
        peers=[
            Entry(
                "open_clip",
                "model.encode_text(ids, normalize=True)",
                timed(torch.inference_mode()(lambda: theirs.encode_text(ids, normalize=True))),
            )
        ],
        agree=close,
        rounds=5,
        bar=6.0,
        note="A causal tower reads nothing behind the end-of-text token: ours runs on the tokens that are there, grouped by length.",
    )
