"""Tip-Adapter-F: trained keys learn to ignore what varies in the images and carries no class."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.cache.tip_adapter_f import TipAdapterF
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="tip_adapter_f",
    card="heads/cache/tip_adapter_f",
    claim="Training the keys of a cache makes it ignore image variation that carries no class, which fixed keys cannot",
    plant="images vary strongly along 8 directions shared by all classes and absent from the text; features with a common mean, as "
    "CLIP's have; 16 shots a class",
    baseline="Tip-Adapter with the same shots; alpha and beta of both chosen on 10 val rows a class",
    control="no such variation",
    margin=0.06,
    control_margin=0.02,
)


def varied(rows: Features, seed: int, strength: float) -> Features:
    """Rows with extra variation of the given length (rows have length 1) along 8 fixed directions."""
    axes_KD = torch.linalg.qr(torch.randn(rows.z.shape[1], 8, generator=generator("axes", seed)))[0].T
    draw_NK = torch.randn(len(rows), 8, generator=generator(rows.split, seed)) / 8**0.5
    return replace(rows, z_ND=unit(rows.z + strength * draw_NK @ axes_KD))


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, within=1.2, anisotropy=0.0, text_noise=2.0, offset=3.0, scale=48.0, val_per_class=10)
    train, val, test = (varied(f, seed, 0.6 if planted else 0.0) for f in (sim.train, sim.val, sim.test))
    score = lambda head: accuracy(head.fit(train, sim.text, val=val).logits(test), test.y)
    return {"ours": score(TipAdapterF()), "baseline": score(TipAdapter()), "zero_shot": score(ZeroShot())}
