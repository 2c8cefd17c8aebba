"""Abstention: a bound keeps the promise about errors that the error rate of the held-out rows, taken at its word, breaks."""

from __future__ import annotations

import torch

from pairwright.audit.calibrate.abstain import Abstain
from pairwright.core.numerics import numpy_rng
from pairwright.ledger.check import Check

CHECK = Check(
    id="abstain",
    card="audit/calibrate/abstain",
    claim="A threshold from bounded tests keeps errors under the wanted risk of 0.1 in all but a tenth of draws, where the threshold that "
    "meets the risk on the held-out rows breaks it in near every second",
    plant="confidence that is the chance to be right, Beta(3, 1): 150 held-out rows, 200 draws a seed",
    baseline="the largest share of the held-out rows whose own error rate is at most the risk",
    control="confidence that is never wrong: there is no promise to break",
    metric="share of draws whose true risk exceeds the wanted one",
    higher_is_better=False,
    margin=0.3,
    control_margin=0.0,
    seeds=5,
    need=5,
)
RISK, ROWS, DRAWS = 0.1, 150, 200


def arms(seed: int, planted: bool) -> dict[str, float]:
    rng = numpy_rng("abstain check", seed)
    truth = torch.from_numpy(rng.beta(3, 1, 20_000) if planted else rng.uniform(1.0, 1.0, 20_000)).sort(descending=True).values
    true_risk = (1 - truth).cumsum(0) / torch.arange(1, len(truth) + 1)  # of answering the k surest
    broken, covered = {"ours": 0, "baseline": 0}, 0.0
    for _ in range(DRAWS):
        p = torch.from_numpy(rng.beta(3, 1, ROWS)) if planted else torch.ones(ROWS, dtype=torch.float64)
        right = torch.from_numpy(rng.random(ROWS)) < p
        bounded = Abstain(RISK).fit(p, right)
        for name, threshold in (("ours", bounded.threshold_), ("baseline", at_its_word(p, right))):
            k = int((truth >= threshold).sum())
            broken[name] += k > 0 and float(true_risk[k - 1]) > RISK
        covered += bounded.coverage_
    return {**{k: v / DRAWS for k, v in broken.items()}, "coverage": covered / DRAWS}


def at_its_word(p: torch.Tensor, right: torch.Tensor) -> float:
    """The lowest threshold at which the held-out rows err no more than the risk."""
    order = p.argsort(descending=True)
    errors = (~right[order]).long().cumsum(0) / torch.arange(1, len(p) + 1)
    fine = (errors <= RISK).nonzero()
    return float(p[order][fine[-1, 0]]) if len(fine) else float("inf")
