"""DMN: prototypes read from the images seen so far correct the class text."""

from __future__ import annotations

import torch

from pairwright.core.numerics import generator
from pairwright.data.world.simulate import simulate
from pairwright.heads.stream.prototype_memory import PrototypeMemory
from pairwright.heads.stream.views import run
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="prototype_memory",
    card="heads/stream/prototype_memory",
    claim="A memory of test images raises the accuracy of the later part of a stream over zero-shot",
    plant="500 images in random order, tight clusters (within 1.2), class text with errors (noise 2); beta 1",
    baseline="zero-shot on the last two thirds of the stream",
    control="exact class text",
    margin=0.02,
    control_margin=0.002,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    noise = {} if planted else {"text_noise": 0.0, "prompt_noise": 0.0}
    sim = simulate(seed, within=1.2, anisotropy=0.0, shots=1, test_per_class=25, **{"text_noise": 2.0, **noise})
    x = sim.test.rows(torch.randperm(len(sim.test), generator=generator("stream", seed)))
    late = lambda scores_NC: float((scores_NC.argmax(1) == x.y)[len(x) // 3 :].double().mean())
    stream = lambda head: late(run(head.fit(None, sim.text), x.z))
    return {
        "ours": stream(PrototypeMemory(beta=1.0)),  # for cosines that spread over 1, where those of trained encoders spread over 0.2
        "baseline": late(ZeroShot().fit(None, sim.text).logits(x)),
        "beta 5.5 (default)": stream(PrototypeMemory()),
        "beta 0 (class means)": stream(PrototypeMemory(beta=0.0)),
    }
