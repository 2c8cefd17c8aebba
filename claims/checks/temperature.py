"""Temperature scaling: one factor undoes a wrong factor on the logits, and does nothing to logits that are calibrated."""

from __future__ import annotations

import torch

from pairwright.audit.calibrate.temperature import Temperature
from pairwright.core.numerics import generator
from pairwright.ledger.check import Check
from pairwright.metrics.proper_scores import nll

CHECK = Check(
    id="temperature",
    card="audit/calibrate/temperature",
    claim="One temperature, fitted on 500 held-out rows, removes a wrong factor on the logits of 20 classes",
    plant="logits are 3 times (even seeds) or 0.3 times the log of the true posteriors",
    baseline="the softmax of the logits as they are",
    control="logits are the log of the true posteriors",
    metric="log loss on 20,000 further rows",
    higher_is_better=False,
    margin=0.2,
    control_margin=0.01,
    seeds=5,
    need=5,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    g = generator("temperature check", seed)
    true_NC = torch.randn(20_500, 20, generator=g).mul(2).log_softmax(1)
    y_N = torch.multinomial(true_NC.exp(), 1, generator=g).squeeze(1)
    logits_NC = true_NC * ((3.0 if seed % 2 == 0 else 0.3) if planted else 1.0)
    scaled = Temperature().fit(logits_NC[:500], y_N[:500])
    loss = lambda p: nll(p, y_N[500:])
    return {"ours": loss(scaled.apply(logits_NC[500:])), "baseline": loss(logits_NC[500:].double().softmax(1)), "t": scaled.temperature_}
