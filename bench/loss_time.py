"""Seconds of a contrastive loss, forward and backward, on a large batch."""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness import Case, Entry, timed
from bench.losses import CALLS, D, features, same, step

B = 8192
PRODUCTS = {"clip": 4, "siglip": 3}
TITLE = {"clip": "CLIP", "siglip": "SigLIP"}
NOTE = {
    "clip": "Four matrix products instead of six: row and column log-sums come from one pass over the logits, the gradient from a second.",
    "siglip": "Both sides take three matrix products, which no exact method can avoid; what is saved is the traffic of the B x B matrices.",
}


def cases() -> Iterator[Case]:
    image, text = features(B)
    for kind in ("clip", "siglip"):
        ours, theirs = (Entry(who, CALLS[kind, who], timed(step(kind, who, image, text))) for who in ("pairwright", "open_clip"))
        yield Case(
            name=f"loss_time_{kind}",
            title=f"{TITLE[kind]} loss, B = 8,192, time",
            inputs=f"Forward and backward over {B} pairs of width {D}, fp32.",
            cost="seconds",
            ours=ours,
            peers=[theirs],
            agree=same,
            rounds=3,
            bar=round(1 / 0.7, 2),
            work=PRODUCTS[kind] * 2.0 * B * B * D,
            note=NOTE[kind],
        )
