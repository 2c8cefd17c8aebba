"""GDA without labels: a covariance that is shared by all classes can be seen without knowing a single label."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear.gda import GDA
from pairwright.heads.transport.gda_em import GDAEM
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="gda_em",
    card="heads/transport/gda_em",
    claim="EM from zero-shot guesses beats one round of pseudo-labels (GDA on what zero-shot says) on the same unlabelled rows",
    plant="20 unlabelled rows a class; variation inside classes is shared by all (anisotropy 0.6), class text is poor (noise 1.5)",
    baseline="GDA on the zero-shot labels of the pool, the better of it and zero-shot; scored on separate test rows",
    control="round variation of twice the length: there are no clusters to find",
    margin=0.1,
    control_margin=0.02,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, text_noise=1.5, **({"anisotropy": 0.6} if planted else {"anisotropy": 0.0, "within": 4.8}))
    head = GDAEM()
    head.fit_logits(sim.pool, sim.text)
    zero_shot = ZeroShot().fit(None, sim.text)
    guessed = replace(sim.pool, y_N=zero_shot.logits(sim.pool).argmax(1))
    score = lambda h: accuracy(h.logits(sim.test), sim.test.y)
    once = score(GDA(alpha=len(guessed) / guessed.z.shape[1]).fit(guessed, sim.text))
    one_step = GDAEM(iterations=1)
    one_step.fit_logits(sim.pool, sim.text)
    truth = replace(sim.pool, y_N=torch.as_tensor(sim.truth["pool"]["y"]))
    return {
        "ours": score(head),
        "baseline": max(once, score(zero_shot)),
        "zero_shot": score(zero_shot),
        "one EM step": score(one_step),
        "GDA with the true labels": score(GDA().fit(truth, sim.text)),
    }
