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
    claim="With prompts in graphs and names, graphs of classes that had no label find their name more often than with the projector alone",
    plant="graphs of 3 shapes and 3 kinds, a word for each; 5 labelled graphs of 7 classes, of the other two only the names",
    baseline="the projector alone, with as many steps",
    control="made-up class names, which tell nothing about a class that had no label",
    margin=0.1,
    control_margin=0.05,
    metric="accuracy on graphs of the two new classes, among all nine names",
)
MADE_UP = ["dax zorp", "wug tiv", "blick glim", "fep nark", "moli quen", "sard vop", "tulver jick", "rast yimp", "kell drud"]
SHOTS, WARM, STEPS = 5, 150, 150


def fixtures() -> None:
    T.tower()
    G.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, tower, names = T.tower(), G.tower(), list(G.NAMES) if planted else MADE_UP
    order_C = torch.randperm(9, generator=generator("seen classes", seed)).tolist()
    seen, new = sorted(order_C[:7]), sorted(order_C[7:])
    train = G.drawn(torch.tensor(seen).repeat_interleave(SHOTS), "train", seed)
    y_N, found = torch.tensor(seen + new).repeat_interleave(60), {}
    test = G.drawn(y_N, "test", seed)
    settings = {"ours": Morpher(warm=WARM, steps=STEPS, lr=0.02), "baseline": Morpher(warm=WARM + STEPS, steps=0)}
    for arm, learner in settings.items():
        learner.fit(model, tower, [names[c] for c in seen], train, torch.arange(7).repeat_interleave(SHOTS))
        scores_NC = learner.embed(model, tower, test).z @ learner.text(model, names).W_CD.T
        is_new_N = (y_N[:, None] == torch.tensor(new)).any(1)
        found[arm] = accuracy(scores_NC[is_new_N], y_N[is_new_N])
        found[f"{arm} seen"] = accuracy(scores_NC[~is_new_N], y_N[~is_new_N])
    return found
