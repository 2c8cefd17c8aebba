"""VPT: what is unusual in the images is taken up inside the image tower; a text context, a few vectors behind it, cannot."""

from __future__ import annotations

import torch

from claims import patch_towers as P
from claims import vector_towers as V
from pairwright.core.features import Features
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent

CHECK = Check(
    id="deep_prefix",
    card="prompts/deep_prefix",
    claim="Where images are shifted and class names are plain, tokens inside the image tower gain more than a learned text context",
    plant="a common offset of all pixels that pretraining never saw; 8 shots of 16 base classes",
    baseline="CoOp from the same template, on cached features, with as many steps",
    control="no offset",
    margin=0.03,
    control_margin=0.02,
    metric="accuracy on base classes",
)
HAND = "a photo of a {}"
OFFSET = 4.0


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = P.tower(), (half[:16] for half in V.split(seed))
    offset = (OFFSET if planted else 0.0) * V.direction(seed)
    look = lambda start, n: P.scenes(n, start + 100_000 * seed, offset)
    train, names = P.only(look(30_000, 1600), base, shots=8), V.named(base)
    deep = DeepPrefix(HAND, how=Descent(lr=0.1, epochs=10, batch=32)).fit(model, names, train)
    shallow = DeepPrefix(HAND, layers=1, how=Descent(lr=0.1, epochs=10, batch=32)).fit(model, names, train)
    plain = lambda x: Features(torch.cat([model.image(part).z_BD for part in x.x.split(512)]), x.y_N, encoder=model.fingerprint)
    coop = CoOp(HAND, how=Descent(epochs=10)).fit(model, names, plain(train))
    test, found = look(60_000, 1600), {}
    for name, classes in (("base", base), ("new", new)):
        x, of = P.only(test, classes), V.named(classes)
        for arm, learner in (("ours", deep), ("shallow", shallow)):
            found[f"{arm} {name}"] = accuracy(learner.image_features(model, x).z @ learner.text(model, of).W_CD.T, x.y_N)
        found[f"baseline {name}"] = accuracy(plain(x).z @ coop.text(model, of).W_CD.T, x.y_N)
    return {"ours": found["ours base"], "baseline": found["baseline base"], **found}
