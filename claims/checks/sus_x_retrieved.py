"""SuS-X: support images that were found by class name alone improve on the names."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairwright.core.numerics import generator
from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check
from pairwright.recipes.sus_x import retrieved, sus_x

CHECK = Check(
    id="sus_x_retrieved",
    card="heads/cache/tip_x",
    claim="TIP-X on images that were retrieved by class text from an unlabelled pool beats the class text",
    plant="20 unlabelled images a class, tight clusters (within 1.2), class text with errors (noise 2); 8 retrieved for each name",
    baseline="zero-shot; the strengths of ours are chosen on 4 val rows a class",
    control="a pool in which no image belongs to any of the classes",
    margin=0.05,
    control_margin=0.02,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, within=1.2, anisotropy=0.0, text_noise=2.0)
    pool = sim.pool
    if not planted:
        z_ND = torch.randn(pool.z.shape, generator=generator("sus_x_retrieved", seed))
        pool = replace(pool, z_ND=torch.nn.functional.normalize(z_ND, dim=1))
    score = lambda head: accuracy(head.logits(sim.test), sim.test.y)
    found = retrieved(sim.text, pool, 8)
    row = torch.tensor([int(i.split("/")[1]) for i in found.ids])
    return {
        "ours": score(sus_x(sim.text, pool=pool, shots=8, val=sim.val)),
        "baseline": score(ZeroShot().fit(None, sim.text)),
        "untuned": score(sus_x(sim.text, pool=pool, shots=8)),
        "right labels among the retrieved": float((torch.as_tensor(sim.truth["pool"]["y"])[row] == found.y).double().mean()),
    }
