"""ProKeR: a global solve discounts copies among the shots, which a vote counts one by one."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.proker import ProKeR
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="proker",
    card="heads/cache/proker",
    claim="Kernel ridge regression of the residual beats the local vote of a cache where shots are repeated unevenly",
    plant="8 shots a class; in half of the classes every shot is there eight times, with jitter",
    baseline="Tip-Adapter with the same rows; settings of both chosen on 4 val rows a class",
    control="no copies",
    margin=0.08,
    control_margin=0.04,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, shots=8, within=1.5, anisotropy=0.0, text_noise=2.0)
    train = sim.train
    if planted:
        copies = torch.where(train.y % 2 == 0, 8, 1)
        train = train.rows(torch.arange(len(train)).repeat_interleave(copies))
        jitter = 0.1 * torch.randn(train.z.shape, generator=generator("jitter", seed)) / train.z.shape[1] ** 0.5
        train = replace(train, z_ND=unit(train.z + jitter))
    score = lambda head: accuracy(head.fit(train, sim.text, val=sim.val).logits(sim.test), sim.test.y)
    return {"ours": score(ProKeR()), "baseline": score(TipAdapter()), "zero_shot": score(ZeroShot())}
