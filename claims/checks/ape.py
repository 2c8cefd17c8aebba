"""APE: a cache on the channels in which class texts differ is not misled by the others."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.ape import APE
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="ape",
    card="heads/cache/ape",
    claim="Where some channels vary in images but not between class texts, a cache without them beats a cache on all channels",
    plant="32 of 64 channels are the same in all class texts and vary strongly in the images; 16 shots a class",
    baseline="Tip-Adapter on all channels; settings of both chosen on 4 val rows a class",
    control="those channels do not vary in the images either",
    margin=0.05,
    control_margin=0.02,
)
EXTRA = 32


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, width=64 - EXTRA, within=1.5, anisotropy=0.0, text_noise=2.0)
    strength = 2.0 if planted else 0.0

    def wider(rows: Features) -> Features:
        draw = torch.randn(len(rows), EXTRA, generator=generator(rows.split, seed)) / EXTRA**0.5
        return replace(rows, z_ND=unit(torch.cat([rows.z, 0.5 / EXTRA**0.5 + strength * draw], 1)))

    train, val, test = (wider(f) for f in (sim.train, sim.val, sim.test))
    same = torch.full((len(sim.text), EXTRA), 0.5 / EXTRA**0.5)
    text = ClassText(unit(torch.cat([sim.text.W_CD, same], 1)), sim.text.names, encoder=sim.text.encoder, scale=sim.text.scale)
    head = APE().fit(train, text, val=val)
    score = lambda head: accuracy(head.fit(train, text, val=val).logits(test), test.y)
    return {
        "ours": accuracy(head.logits(test), test.y),
        "baseline": score(TipAdapter()),
        "zero_shot": score(ZeroShot()),
        "kept_of_informative": float((head.channels_ < 64 - EXTRA).float().mean()),
    }
