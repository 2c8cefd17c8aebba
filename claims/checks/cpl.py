"""CPL: where captions always named the colour, prompts that name each image's colour serve new shapes too; those of other images do not."""

from __future__ import annotations

import torch

from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.data.world import vocabulary as V
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.tokens import hand_text
from pairwright.recipes.cpl import CPL

CHECK = Check(
    id="cpl",
    card="recipes/cpl",
    claim="Prompts that name the concepts an image shares with training images beat the plain prompt and learned tokens, new classes too",
    plant="classes are shapes, within which the colour varies; captions in pretraining always named it; 16 shots of 4 of 8 shapes",
    baseline="the better one in each seed of the class-name prompt and CoOp from it on the same rows",
    control="each image gets the concepts of another one, in training and in use",
    margin=0.01,
    control_margin=0.005,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"
SHAPES, COLOURS = tuple(V.SHAPES)[:8], tuple(V.COLOURS)[:8]
NOISE, SHOTS = 3.0, 16


class Astray(CPL):
    """The same, but each image takes the concepts of another one, drawn at random."""

    def concepts_of(self, z_ND):
        return super().concepts_of(z_ND)[torch.randperm(len(z_ND), generator=generator("astray", len(z_ND), float(z_ND.sum())))]


def fixtures() -> None:
    T.tower()


def shapes(model, n: int, start: int, kept: torch.Tensor, shots: int | None = None) -> Features:
    """Features of scenes of some shapes (the first `shots` of each), labelled with their place among these."""
    x = T.scenes(model, n, start, noise=NOISE)
    shape_N = x.y // len(COLOURS)
    rows = torch.cat([(shape_N == c).nonzero().squeeze(1)[:shots] for c in kept.tolist()])
    place_C = torch.zeros(len(SHAPES), dtype=torch.int64)
    place_C[kept] = torch.arange(len(kept))
    return Features(x.z[rows], place_C[shape_N[rows]], encoder=model.fingerprint)


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, order = T.tower(), torch.randperm(len(SHAPES), generator=generator("shapes", seed))
    halves = {"base": order[:4], "new": order[4:]}
    names = {half: [SHAPES[c] for c in kept.tolist()] for half, kept in halves.items()}
    train = shapes(model, 1000, 30_000 + 100_000 * seed, halves["base"], SHOTS)
    test = {half: shapes(model, 2000, 60_000 + 100_000 * seed, kept) for half, kept in halves.items()}
    cpl = CPL if planted else Astray
    coop = CoOp(HAND, how=Descent(epochs=50)).fit(model, names["base"], train)
    ours = cpl(template=HAND).fit(model, names["base"], train, COLOURS)
    untrained = cpl(template=HAND, epochs=0).fit(model, names["base"], train, COLOURS)
    plain = CPL(template=HAND).fit(model, names["base"], train)
    looks = {
        "ours": lambda half: ours.logits(model, names[half], test[half]),
        "CoOp": lambda half: test[half].z @ coop.text(model, names[half]).W_CD.T,
        "concepts alone": lambda half: untrained.logits(model, names[half], test[half]),
        "projector alone": lambda half: plain.logits(model, names[half], test[half]),
        "hand": lambda half: test[half].z @ hand_text(model, names[half], HAND).T,
    }
    found = {}
    for name, look in looks.items():
        b, n = (accuracy(look(half), test[half].y) for half in halves)
        found |= {name: 2 * b * n / (b + n), f"{name} base": b, f"{name} new": n}
    return {**found, "baseline": max(found["hand"], found["CoOp"])}
