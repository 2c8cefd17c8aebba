"""TPT: one step on the agreement of an image's confident views; beside it, their mean class probability without any tuning."""

from __future__ import annotations

import torch

from claims import vector_towers as T
from pairwright.core.numerics import generator
from pairwright.data.world import vectors
from pairwright.ledger.check import Check
from pairwright.prompts.tokens import hand_text
from pairwright.prompts.tpt import TPT, confident

CHECK = Check(
    id="tpt",
    card="prompts/tpt",
    claim="One step of the context on each image's own views, without labels, raises zero-shot accuracy on images of an unseen look",
    plant="a common offset and much noise, 16 views an image, each with half of the noise drawn anew; 20 classes",
    baseline="zero-shot with the same prompt on the plain image",
    control="the views are those of another image",
    margin=0.005,
    control_margin=0.0,
    metric="accuracy",
)
HAND = "a photo of a {}"
RATE = 0.02
N, VIEWS, OFFSET = 250, 16, 4.0


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, classes = T.tower(), T.split(seed)[0][:20]
    batch = T.WORLD.sample(1200, 30_000 + 100_000 * seed)
    place_C = torch.full((len(T.NAMES),), -1)
    place_C[classes] = torch.arange(len(classes))
    y_N = place_C[torch.from_numpy(batch.facts.shape_NO[:, 0] * T.WORLD.colours + batch.facts.colour_NO[:, 0])]
    rows = (y_N >= 0).nonzero().squeeze(1)[:N]
    x_NW = vectors.image_vectors(batch, noise=1.5)[rows] + OFFSET * T.direction(seed)
    y_N, n = y_N[rows], len(rows)
    jitter = 0.1 * torch.randn(n, VIEWS, x_NW.shape[1], generator=generator("views", seed))
    jitter[:, 0] = 0  # the plain image comes first
    with torch.no_grad():
        z_NAD = model.image((x_NW[:, None] + jitter).flatten(0, 1)).z_BD.view(n, VIEWS, -1)
    if not planted:
        z_NAD = torch.cat([z_NAD[:, :1], z_NAD.roll(1, 0)[:, 1:]], 1)
    names = T.named(classes)
    text_CD, learner = hand_text(model, names, HAND), TPT(HAND, lr=RATE).fit(model, names)
    plain_NAC = model.scale * z_NAD @ text_CD.T
    tuned = torch.stack([learner.step(model, z_AD) for z_AD in z_NAD])
    mean = torch.stack([v[confident(v, learner.keep)].softmax(-1).mean(0) for v in plain_NAC])
    right = lambda scores_NC: float((scores_NC.argmax(1) == y_N).float().mean())
    return {"ours": right(tuned), "baseline": right(plain_NAC[:, 0]), "confident views, untuned": right(mean)}
