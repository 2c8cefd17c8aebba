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
from pairwright.prompts.tokens import hand_text

CHECK = Check(
    id="deep_prefix",
    card="prompts/deep_prefix",
    claim="Where images are shifted and class names are plain, tokens inside the image tower gain more than a learned text context",
    plant="a common offset of all pixels that pretraining never saw; 8 shots of 16 base classes",
    baseline="CoOp from the same template, on cached features, with as many steps",
    control="no offset",
    margin=0.04,
    control_margin=0.02,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"
OFFSET = 5.0


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = P.tower(), (half[:16] for half in V.split(seed))
    offset = (OFFSET if planted else 0.0) * V.direction(seed)
    look = lambda start, n: P.scenes(n, start + 100_000 * seed, offset, noise=1.5)
    train, names = P.only(look(30_000, 1600), base, shots=8), V.named(base)
    deep = DeepPrefix(HAND, how=Descent(lr=2e-4, epochs=20, batch=32)).fit(model, names, train)
    plain = lambda x: Features(torch.cat([model.image(part).z_BD for part in x.x.split(512)]), x.y_N, encoder=model.fingerprint)
    coop = CoOp(HAND, how=Descent(epochs=20)).fit(model, names, plain(train))
    test, found = look(60_000, 1600), {}
    for name, classes in (("base", base), ("new", new)):
        x, of = P.only(test, classes), V.named(classes)
        found[f"ours {name}"] = accuracy(deep.image_features(model, x, chunk=512).z @ deep.text(model, of).W_CD.T, x.y_N)
        found[f"baseline {name}"] = accuracy(plain(x).z @ coop.text(model, of).W_CD.T, x.y_N)
        found[f"hand {name}"] = accuracy(plain(x).z @ hand_text(model, of, HAND).T, x.y_N)
    mean = lambda arm: 2 / (1 / max(found[f"{arm} base"], 1e-9) + 1 / max(found[f"{arm} new"], 1e-9))
    return {**{arm: mean(arm) for arm in ("ours", "baseline", "hand")}, **found}
