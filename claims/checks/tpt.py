"""TPT: one step on the agreement of an image's confident views; beside it, their mean class probability without any tuning."""

from __future__ import annotations

import torch

from claims import vector_towers as T
from pairwright.core.numerics import generator, unit
from pairwright.data.world import vectors
from pairwright.ledger.check import Check
from pairwright.prompts.tokens import hand_text
from pairwright.prompts.tpt import TPT, confident

CHECK = Check(
    id="tpt",
    card="prompts/tpt",
    claim="One step of the context on each image's own views, without labels, raises zero-shot accuracy on cluttered images",
    plant="clutter of its own in each image, of which each of 16 views keeps a share at random, as a crop would; 20 classes",
    baseline="zero-shot with the same prompt on the plain image",
    control="the views are those of another image",
    margin=0.02,
    control_margin=0.005,
    metric="accuracy",
)
HAND = "a photo of a {}"
N, VIEWS, CLUTTER = 250, 16, 5.0


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, classes = T.tower(), T.split(seed)[0][:20]
    batch = T.WORLD.sample(1200, 30_000 + 100_000 * seed)
    place_C = torch.full((len(T.NAMES),), -1)
    place_C[classes] = torch.arange(len(classes))
    y_N = place_C[torch.from_numpy(batch.facts.shape_NO[:, 0] * T.WORLD.colours + batch.facts.colour_NO[:, 0])]
    rows = (y_N >= 0).nonzero().squeeze(1)[:N]
    x_NW = vectors.image_vectors(batch, noise=1.5)[rows]
    y_N, n = y_N[rows], len(rows)
    rng = generator("views", seed)
    clutter_NW = CLUTTER * unit(torch.randn(n, x_NW.shape[1], generator=rng))
    kept_NA = torch.rand(n, VIEWS, generator=rng)
    kept_NA[:, 0] = 1  # the plain image comes first
    with torch.no_grad():
        z_NAD = model.image((x_NW[:, None] + kept_NA[..., None] * clutter_NW[:, None]).flatten(0, 1)).z_BD.view(n, VIEWS, -1)
    if not planted:
        z_NAD = torch.cat([z_NAD[:, :1], z_NAD.roll(1, 0)[:, 1:]], 1)
    names = T.named(classes)
    text_CD, learner = hand_text(model, names, HAND), TPT(HAND).fit(model, names)
    plain_NAC = model.scale * z_NAD @ text_CD.T
    tuned = torch.stack([learner.step(model, z_AD) for z_AD in z_NAD])
    mean = torch.stack([v[confident(v, learner.keep)].softmax(-1).mean(0) for v in plain_NAC])
    right = lambda scores_NC: float((scores_NC.argmax(1) == y_N).float().mean())
    return {"ours": right(tuned), "baseline": right(plain_NAC[:, 0]), "confident views, untuned": right(mean)}
