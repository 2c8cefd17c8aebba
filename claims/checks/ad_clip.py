"""AD-CLIP: unlabelled images of a second style carry prompts over from the first, where few labels teach them one style too well."""

from __future__ import annotations

import copy

from claims import patch_towers as P
from claims import style_domains as S
from claims import vector_towers as V
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.fit import Descent
from pairwright.prompts.style_tokens import StyleTokens
from pairwright.recipes.ad_clip import ADCLIP

CHECK = Check(
    id="ad_clip",
    card="recipes/ad_clip",
    claim="With labels in one style and unlabelled images of another, aligned prompts classify the other better than labels alone do",
    plant="8 shots of 8 classes in one style; unlabelled images of the same classes and test images in another",
    baseline="StyleTokens on the labelled rows, from the same start, with as many steps",
    control="unlabelled and test images in the style that has labels: there is no gap to close",
    margin=0.02,
    control_margin=0.01,
    metric="accuracy in the second style, mean over two of them",
)
LEARNER = StyleTokens("a photo of a {}", content="tokens", how=Descent(lr=1e-2, epochs=40, batch=32, optimizer="adamw", decay=0.0))
LOOK = {"size": 2.0, "noise": 0.5}


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, classes, source = P.tower(), V.split(seed)[0][:8], seed % 4
    names, found = V.named(classes), {}
    look = lambda style, start, n, shots=None: S.rows(model, classes, style, seed, start=start, n=n, shots=shots, **LOOK)
    train = look(source, 30_000, 1500, shots=8)
    plain = copy.deepcopy(LEARNER).fit(model, names, train)
    for target in ((source + 1) % 4, (source + 2) % 4) if planted else (source,):
        pool, test = look(target, 45_000, 2000), look(target, 60_000, 600)
        fits = {"ours": ADCLIP(LEARNER).fit(model, names, train, pool).learner_, "baseline": plain}
        for arm, fit in fits.items():
            found.setdefault(arm, []).append(accuracy(fit.logits(model, names, test, chunk=64), test.y))
    return {arm: sum(right) / len(right) for arm, right in found.items()}
