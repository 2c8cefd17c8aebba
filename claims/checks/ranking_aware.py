"""Ranking-aware adapter: comparing images teaches the order where grades are on a crooked scale."""

from __future__ import annotations

import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.linear.ranking_aware import RankingAware
from pairwright.ledger.check import Check

CHECK = Check(
    id="ranking_aware",
    card="heads/linear/ranking_aware",
    claim="Where grades grow exponentially, learning also which of two images comes first sorts better than regression alone",
    plant="three instructions; the grade is exp(8 amount): half of the images lie in the lowest fiftieth of the scale; 150 graded images, "
    "400 steps",
    baseline="the same adapter with the same steps, without comparing images",
    control="grades that are the amounts themselves, on an even scale",
    margin=0.08,
    control_margin=0.02,
    metric="mean Spearman correlation of scores and amounts",
)
D, STEEP, STEPS = 16, 8.0, 400


def arms(seed: int, planted: bool) -> dict[str, float]:
    axis_CD, bend_CD, wrong_CD = (unit(torch.randn(3, D, generator=generator("sort", what, seed))) for what in ("axis", "bend", "wrong"))
    text = ClassText(unit(axis_CD + wrong_CD), ("count", "size", "brightness"))

    def look(split: str, n: int) -> tuple[Tensor, Tensor]:
        amount_NC = torch.rand(n, 3, generator=generator("sort", split, "amount", seed))
        x_ND = (2 * amount_NC - 1) @ axis_CD + 0.7 * torch.cos(6 * amount_NC) @ bend_CD
        return unit(x_ND + 0.3 * unit(torch.randn(n, D, generator=generator("sort", split, "noise", seed)))), amount_NC

    (z_ND, amount_NC), (z_TD, truth_TC) = look("train", 150), look("test", 600)
    train = Features(z_ND, (1000 * ((STEEP * amount_NC).exp() if planted else amount_NC)).round().long())
    sorts = lambda scores_TC: float(torch.stack([spearman(a, b) for a, b in zip(scores_TC.T, truth_TC.T)]).mean())
    found = {name: sorts(RankingAware(pair=w, steps=STEPS).fit(train, text).logits(z_TD)) for name, w in (("ours", 1.0), ("baseline", 0.0))}
    return {**found, "zero_shot": sorts(z_TD @ text.W_CD.T)}


def spearman(a_N: Tensor, b_N: Tensor) -> Tensor:
    ranks = lambda x_N: x_N.argsort().argsort().double()
    return torch.corrcoef(torch.stack([ranks(a_N), ranks(b_N)]))[0, 1]
