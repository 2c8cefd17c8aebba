"""TIP-X: comparing images through the class texts ignores what no text describes."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.cache.tip_x import TipX
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="tip_x",
    card="heads/cache/tip_x",
    claim="Where images vary along directions in which no class text lies, signatures over the texts make a better cache than cosines",
    plant="images vary strongly along 24 directions orthogonal to all class texts; 8 support rows a class",
    baseline="Tip-Adapter with the same support; settings of both chosen on 4 val rows a class",
    control="no such variation",
    margin=0.05,
    control_margin=0.02,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, shots=8, within=1.5, anisotropy=0.0, text_noise=2.0)
    axes_KD = torch.linalg.svd(sim.text.W_CD)[2][len(sim.text) :][:24]

    def varied(rows: Features) -> Features:
        draw_NK = torch.randn(len(rows), 24, generator=generator(rows.split, seed)) / 24**0.5
        return replace(rows, z_ND=unit(rows.z + (2.0 if planted else 0.0) * draw_NK @ axes_KD))

    train, val, test = (varied(f) for f in (sim.train, sim.val, sim.test))
    score = lambda head: accuracy(head.fit(train, sim.text, val=val).logits(test), test.y)
    return {"ours": score(TipX()), "baseline": score(TipAdapter()), "zero_shot": score(ZeroShot())}
