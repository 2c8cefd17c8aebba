"""Tip-Adapter: single labelled images vote, so that a class may have several looks."""

from __future__ import annotations

import torch
from torch import Tensor

from pairwright.data.world.simulate import Sim, simulate
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check
from pairwright.metrics.topk_accuracy import topk_accuracy

CHECK = Check(
    id="tip_adapter",
    card="heads/cache/tip_adapter",
    claim="With 16 labelled images per class, a cache of single images beats zero-shot and also class means blended with zero-shot.",
    plant="every class has two looks (80% of its signal), and class text is wrong by 1.5 times its length",
    baseline="the better of zero-shot and nearest class mean blended with zero-shot (its weight chosen on val, as ours)",
    control="classes have one look and class text has no error: nothing is left for single images to add",
    margin=0.08,
    control_margin=0.01,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    how = {"modes": 0.8, "within": 1.0, "text_noise": 1.5} if planted else {"text_noise": 0.0, "prompt_noise": 0.0}
    sim = simulate(seed, **how)
    tip = topk_accuracy(TipAdapter().fit(sim.train, sim.text, val=sim.val).logits(sim.test), sim.test.y)
    plain = topk_accuracy(ZeroShot().fit(None, sim.text).logits(sim.test), sim.test.y)
    means = topk_accuracy(_blended_means(sim), sim.test.y)
    return {"ours": tip, "baseline": max(plain, means), "zero-shot": plain, "class means": means}


def _blended_means(sim: Sim) -> Tensor:
    """Zero-shot logits minus a val-chosen multiple of the squared distance to each class mean."""
    mean_CD = torch.stack([sim.train.z[sim.train.y == c].mean(0) for c in range(len(sim.text))])
    zero_shot = ZeroShot().fit(None, sim.text)
    logits = lambda x, a: zero_shot.logits(x) - a * torch.cdist(x.z, mean_CD).square()
    best = max([0.0, *(10 ** (i / 4) for i in range(13))], key=lambda a: topk_accuracy(logits(sim.val, a), sim.val.y))
    return logits(sim.test, best)
