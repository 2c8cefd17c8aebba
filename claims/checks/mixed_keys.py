"""CapS-Adapter: captions correct keys whose images have a look of their own."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.mixed_keys import MixedKeys
from pairwright.heads.cache.tip_x import TipX
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="mixed_keys",
    card="heads/cache/mixed_keys",
    claim="Where support images have a look that the target has not, keys mixed with captions beat keys of images",
    plant="support images in styles that differ by class and are not in the target; captions without style, but noisy; 8 support rows a "
    "class",
    baseline="TIP-X on the same images; settings of both chosen on 200 labelled target rows, as the paper does",
    control="captions of another class",
    margin=0.05,
    control_margin=0.01,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, shots=8, within=1.2, anisotropy=0.0, text_noise=2.0, style=1.5, entangled=1.0)
    y = sim.train.y if planted else (sim.train.y + 1) % len(sim.text)
    noise = 1.5 * torch.randn(sim.train.z.shape, generator=generator("captions", seed)) / sim.train.z.shape[1] ** 0.5
    caption = unit(sim.means_CD[y] + noise)
    train = replace(sim.train, side={"caption": caption})
    val, test = sim.test.rows(range(200)), sim.test.rows(range(200, len(sim.test)))
    score = lambda head, rows: accuracy(head.fit(rows, sim.text, val=val).logits(test), test.y)
    return {
        "ours": score(MixedKeys(), train),
        "baseline": score(TipX(), sim.train),
        "captions_only": score(TipX(), replace(sim.train, z_ND=caption)),
        "zero_shot": score(ZeroShot(), None),
    }
