"""Morpher: a class without any labelled graph is found by its name, since prompts on both sides join graphs to words."""

from __future__ import annotations

import torch

from claims import graph_towers as G
from claims import vector_towers as T
from pairwright.core.numerics import generator
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.morpher import Morpher

CHECK = Check(
    id="morpher",
    card="prompts/morpher",
    claim="With prompts in graphs and names, classes without any labelled graph are found by name more often than with the projector alone",
    plant="graphs of 3 shapes and 3 kinds, a word for each; 5 labelled graphs of 7 classes, of the other two only the names",
    baseline="the projector alone, with as many steps",
    control="the names are permuted among all classes, so that they tell nothing about a class that had no label",
    margin=0.05,
    control_margin=0.05,
    metric="accuracy on graphs of the two new classes, between their names; mean of eight choices of these classes",
)
SHOTS, SPLITS, WARM, STEPS = 5, 8, 150, 100


def fixtures() -> None:
    T.tower()
    G.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, tower = T.tower(), G.tower()
    names = list(G.NAMES) if planted else [G.NAMES[c] for c in torch.randperm(9, generator=generator("permuted", seed))]
    settings = {"ours": Morpher(warm=WARM, steps=STEPS, lr=0.02), "baseline": Morpher(warm=WARM + STEPS, steps=0)}
    found = dict.fromkeys(("ours", "baseline", "ours seen", "baseline seen"), 0.0)
    for split in range(SPLITS):
        order_C = torch.randperm(9, generator=generator("seen classes", seed, split)).tolist()
        seen, new = sorted(order_C[:7]), sorted(order_C[7:])
        train, y_N = G.drawn(torch.tensor(seen).repeat_interleave(SHOTS), "train", seed, split), torch.arange(7).repeat_interleave(SHOTS)
        for arm, learner in settings.items():
            learner.fit(model, tower, [names[c] for c in seen], train, y_N)
            for part, classes in (("", new), (" seen", seen)):
                test = G.drawn(torch.tensor(classes).repeat_interleave(40), f"test{part}", seed, split)
                x, text = learner.embed(model, tower, test), learner.text(model, [names[c] for c in classes])
                found[arm + part] += accuracy(x.z @ text.W_CD.T, torch.arange(len(classes)).repeat_interleave(40)) / SPLITS
    return found
