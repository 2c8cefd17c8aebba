"""FLYP: fine-tuned as it was pretrained, on captions that it understands, a model carries over to other styles better than LP-FT."""

from __future__ import annotations

import itertools

import torch

from claims import tuning as P
from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.heads.linear.logistic import Logistic
from pairwright.ledger.check import Check
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.recipes._fine_tune import How, Rows, fine_tune, image_tower
from pairwright.train.objective import Sum
from pairwright.train.stage import Batch

CHECK = Check(
    id="flyp",
    card="recipes/flyp",
    claim="Contrastive fine-tuning on class captions is better on a style that was not in training than LP-FT with as many steps.",
    plant="32 classes in an unseen style, 4 shots, captions in three templates; tested on another unseen style",
    baseline="LP-FT: the image tower from a linear probe's head",
    control="the class names are exchanged at random: captions say nothing that the towers know of these classes",
    margin=0.05,
    control_margin=0.01,
)
NOISE, STEPS = 1.5, 60
TEMPLATES = ("a photo of a {}", "here is a {}", "a {}")


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    base, _ = T.split(seed)
    names = T.named(base)
    if not planted:
        names = [names[i] for i in torch.randperm(len(names), generator=generator("names", seed))]
    style = lambda k: 3.0 * T.direction("style", seed, k)
    x_NW, y_N = P.only(P.scenes(800, 30_000 + 10_000 * seed, style(0), NOISE), base, shots=4)
    test, other = (P.only(P.scenes(800, 500_000 + 10_000 * seed, style(k), NOISE), base) for k in (0, 1))

    ours = P.tower()
    fine_tune(ours, Captioned(ours, x_NW, y_N, names, seed), Sum({"clip": InfoNCE()}), How(STEPS, 1e-3, precise="fp32"))
    text = P.tower()
    P.tune(text, (x_NW, y_N), names, 1e-3, STEPS, seed=seed, trainable=P.towers_only)
    probed = P.tower()
    probe = Logistic().fit(Features(probed.image(x_NW).z_BD, y_N))
    objective = P.tune(probed, (x_NW, y_N), None, 1e-3, STEPS, head=(probe.weight_, probe.bias_), seed=seed, trainable=image_tower)
    with torch.no_grad():
        lp_ft = [float((objective.logits(probed.image(x).z_BD).argmax(1) == y).double().mean()) for x, y in (test, other)]
    own, through = ([P.accuracy(model, rows, names) for rows in (test, other)] for model in (ours, text))
    return {
        "ours": own[1],
        "baseline": lp_ft[1],
        "through the text": through[1],
        "ours, same style": own[0],
        "baseline, same style": lp_ft[0],
        "through the text, same style": through[0],
    }


class Captioned:
    """Rows as pairs: each with a caption of its class in a drawn template; rows of a class are positives of each other."""

    def __init__(self, model, x_NW, y_N, names, seed) -> None:
        self.rows = Rows(x_NW, y_N, batch=32, seed=seed)
        self.batch_size = self.rows.batch_size
        self.ids_TCL = torch.stack([model.tokenizer([t.format(n) for n in names]) for t in TEMPLATES])

    def spec(self):
        return self.rows.spec()

    def batches(self, start):
        for step, b in zip(itertools.count(start), self.rows.batches(start)):
            drawn_B = torch.randint(len(TEMPLATES), b.group_B.shape, generator=generator("template", step))
            yield Batch({**b.inputs, "text": self.ids_TCL[drawn_B, b.group_B]}, group_B=b.group_B)
