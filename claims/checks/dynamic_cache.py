"""TDA: sure test images become examples for the later ones."""

from __future__ import annotations

import torch

from pairwright.core.numerics import generator
from pairwright.data.world.simulate import simulate
from pairwright.heads.stream.dynamic_cache import DynamicCache
from pairwright.heads.stream.views import run
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="dynamic_cache",
    card="heads/stream/dynamic_cache",
    claim="A cache of confident test images raises the accuracy of the later part of a stream over zero-shot",
    plant="500 images in random order, tight clusters (within 1.2), class text with errors (noise 2); the released constants",
    baseline="zero-shot on the last two thirds of the stream",
    control="exact class text",
    margin=0.008,
    control_margin=0.002,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    noise = {} if planted else {"text_noise": 0.0, "prompt_noise": 0.0}
    sim = simulate(seed, within=1.2, anisotropy=0.0, shots=1, test_per_class=25, **{"text_noise": 2.0, **noise})
    shuffled = sim.test.rows(torch.randperm(len(sim.test), generator=generator("stream", seed)))
    by_class = sim.test.rows(sim.test.y.argsort(stable=True))
    zero_shot = ZeroShot().fit(None, sim.text)

    def late(scores_NC: torch.Tensor, x=shuffled) -> float:
        from_ = len(x) // 3
        return float((scores_NC.argmax(1) == x.y)[from_:].double().mean())

    stream = lambda x=shuffled, **settings: late(run(DynamicCache(**settings).fit(None, sim.text), x.z), x)
    return {
        "ours": stream(),
        "baseline": late(zero_shot.logits(shuffled)),
        "alpha 8": stream(alpha=8.0),
        "sorted by class": stream(by_class),
        "zero-shot, sorted by class": late(zero_shot.logits(by_class), by_class),
    }
