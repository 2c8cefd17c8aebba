"""IP-CLIP: prompts that see an image's style lock one style out and keep another; prompts that do not see it lose both or neither."""

from __future__ import annotations

from claims import patch_towers as P
from claims import style_domains as S
from claims import vector_towers as V
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.metrics.domain_lock import domain_lock
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.style_tokens import StyleTokens
from pairwright.recipes.ip_clip import IPCLIP

CHECK = Check(
    id="ip_clip",
    card="recipes/ip_clip",
    claim="Style-conditioned prompts unlearn one style and keep another, where the same unlearning without style tokens costs both",
    plant="the same 8 classes in an authorised and an unauthorised style, 12 labelled shots each; without the terms on mixed features",
    baseline="the same loss and steps on a context that the image does not change",
    control="authorised and unauthorised rows are drawn from one style: nothing tells them apart",
    margin=0.1,
    control_margin=0.05,
    metric="authorised accuracy times (drop from CoOp where unauthorised - drop where authorised)",
)
HAND = "a photo of a {}"
HOW = Descent(lr=5e-3, epochs=40, batch=32, optimizer="adamw", decay=0.0)
LOOK = {"size": 3.0, "noise": 1.0}


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, classes, own = P.tower(), V.split(seed)[0][:8], seed % 4
    names, styles = V.named(classes), [own, 3 - own if planted else own, (own + 2) % 4]
    # all scenes differ, where the styles are one as well
    look = lambda place, start, n, shots=None: S.rows(
        model, classes, styles[place], seed, start=start + 8000 * place, n=n, shots=shots, **LOOK
    )
    authorised, forbidden = (look(place, 30_000, 1500, 12) for place in (0, 1))
    tests = [look(place, 60_000, 600) for place in (0, 1, 2)]
    coop = CoOp(HAND, how=HOW).fit(model, names, authorised).text(model, names)
    before, found = [accuracy(x.z @ coop.W_CD.T, x.y) for x in tests], {}
    learner = lambda strength: StyleTokens(HAND, content="tokens", strength=strength, how=HOW)
    locks = {"ours": IPCLIP(learner(1.0), mixed=0.0), "baseline": IPCLIP(learner(0.0), mixed=0.0)}
    for arm, lock in locks.items():
        fit = lock.fit(model, names, authorised, forbidden).learner_
        after = [accuracy(fit.logits(model, names, x, chunk=64), x.y) for x in tests]
        found[arm] = domain_lock(before[0], after[0], before[1:2], after[1:2]).score
        found |= {f"{arm}, {where}": right for where, right in zip(("authorised", "unauthorised", "unseen style"), after)}
    return {**found, "CoOp, authorised": before[0], "CoOp, unauthorised": before[1], "CoOp, unseen style": before[2]}
