"""One-vs-rest: with several classes an image, the zero-shot prior carries a probe that has few labels."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.linear.one_vs_rest import OneVsRest
from pairwright.ledger.check import Check
from pairwright.metrics.average_precision import average_precision

CHECK = Check(
    id="one_vs_rest",
    card="heads/linear/one_vs_rest",
    claim="The zero-shot score beside the features ranks the images of a class better than features alone, with 40 labelled images",
    plant="images show one to three of 12 classes (sums of class features); class text with moderate errors",
    baseline="the same regression without text",
    control="class text that names other classes (shuffled)",
    metric="mean average precision on 400 further images",
    margin=0.1,
    control_margin=0.02,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, classes=12, shots=20, width=64, test_per_class=60)
    train, test = mixed(sim.train, 40, seed, "train"), mixed(sim.test, 400, seed, "test")
    order = torch.arange(12) if planted else torch.arange(12).roll(5)
    text: ClassText = replace(sim.text, W_CD=sim.text.W_CD[order], prompts_CPD=None)
    score = lambda head: average_precision(head.fit(train, text).logits(test.z).T, test.y.T.bool())
    return {"ours": score(OneVsRest()), "baseline": score(OneVsRest(text=False))}


def mixed(rows: Features, n: int, seed: int, what: str) -> Features:
    """Images that show one to three classes: unit sums of one row of each."""
    g = generator("mixed", seed, what)
    y_NC = torch.zeros(n, 12, dtype=torch.int64)
    z: list[Tensor] = []
    for i in range(n):
        classes = torch.randperm(12, generator=g)[: 1 + i % 3]
        y_NC[i, classes] = 1
        own = [(rows.y == c).nonzero().squeeze(1) for c in classes]
        z.append(torch.stack([rows.z[o[int(torch.randint(len(o), (1,), generator=g))]] for o in own]).sum(0))
    return Features(unit(torch.stack(z)), y_NC, encoder=rows.encoder)
