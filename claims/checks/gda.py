"""GDA: a shared covariance whitens away what varies inside every class."""

from __future__ import annotations

import torch
from torch import Tensor

from pairwright.data.world.simulate import Sim, simulate
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.linear.gda import GDA
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check
from pairwright.metrics.topk_accuracy import topk_accuracy

CHECK = Check(
    id="gda",
    card="heads/linear/gda",
    claim="With 16 shots, a shared covariance beats class means alone, and Tip-Adapter, when images vary along a few shared directions.",
    plant="within-class variation has a steep spectrum, the same for all classes (anisotropy 1)",
    baseline="the better of nearest class mean blended with zero-shot and Tip-Adapter, each tuned on val, as ours",
    control="round within-class variation (anisotropy 0): there is nothing to whiten",
    margin=0.1,
    control_margin=0.02,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, anisotropy=1.0 if planted else 0.0)
    score = lambda head: topk_accuracy(head.fit(sim.train, sim.text, val=sim.val).logits(sim.test), sim.test.y)
    means, tip = topk_accuracy(_blended_means(sim), sim.test.y), score(TipAdapter())
    without_val = topk_accuracy(GDA().fit(sim.train, sim.text).logits(sim.test), sim.test.y)
    return {"ours": score(GDA()), "baseline": max(means, tip), "class means": means, "tip-adapter": tip, "ours without val": without_val}


def _blended_means(sim: Sim) -> Tensor:
    """Zero-shot logits minus a val-chosen multiple of the squared distance to each class mean: GDA with a round covariance."""
    mean_CD = torch.stack([sim.train.z[sim.train.y == c].mean(0) for c in range(len(sim.text))])
    zero_shot = ZeroShot().fit(None, sim.text)
    logits = lambda x, a: zero_shot.logits(x) - a * torch.cdist(x.z, mean_CD).square()
    best = max([0.0, *(10 ** (i / 4) for i in range(13))], key=lambda a: topk_accuracy(logits(sim.val, a), sim.val.y))
    return logits(sim.test, best)
