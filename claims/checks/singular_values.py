"""CLIP-SVD: what a matrix holds but weighs wrongly is set right through its own directions, not through others."""

from __future__ import annotations

import torch

from claims import tuning as P
from claims import vector_towers as T
from pairwright.core.numerics import generator
from pairwright.ledger.check import Check
from pairwright.tune.weights.places import places
from pairwright.tune.weights.singular_values import SingularValues

CHECK = Check(
    id="singular_values",
    card="tune/weights/singular_values",
    claim="Where trained matrices hold what the task needs but too weakly, a few shots set their singular values right again.",
    plant="70% of the singular values of the image tower's feed-forward matrices are turned down to a tenth; 4 shots of 32 base classes",
    baseline="as many values on random orthogonal directions, trained alike",
    control="the matrices are as trained, and the images in an unseen style: the task asks for no other weighing of the same directions",
    margin=0.02,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)
NOISE, STEPS = 1.5, 60


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    base, new = T.split(seed)
    style = None if planted else 3.0 * T.direction("style", seed)
    train = P.only(P.scenes(800, 30_000 + 10_000 * seed, style, NOISE), base, shots=4)
    test = P.scenes(1000, 500_000 + 10_000 * seed, style, NOISE)
    parts = [(T.named(classes), P.only(test, classes)) for classes in (base, new)]

    def score(tuner: SingularValues | None) -> float:
        model = P.tower()
        if planted:
            turn_down(model, seed)
        if tuner is not None:
            P.tune(model, train, parts[0][0], 1e-2, STEPS, seed=seed, modifiers=[tuner])
        return P.harmonic(*(P.accuracy(model, rows, names) for names, rows in parts))

    own = SingularValues(("fc", "proj"), ("image",))
    return {"ours": score(own), "baseline": score(Anywhere(own.parts, own.towers)), "zero_shot": score(None)}


@torch.no_grad()
def turn_down(model, seed: int) -> None:
    """Multiply a random 70% of the singular values of every feed-forward matrix by 0.1."""
    for place in places(model, ("image",), ("fc", "proj")):
        u, s, vt = torch.linalg.svd(place.weight_OI, full_matrices=False)
        weak = torch.rand(len(s), generator=generator("weak", seed, place.path)) < 0.7
        getattr(place.module, place.name).copy_(u @ torch.diag(torch.where(weak, 0.1 * s, s)) @ vt)


class Anywhere(SingularValues):
    """The same with random orthogonal directions in the place of the matrix's own."""

    def _update(self, place):
        made = super()._update(place)
        for t in (made.u_SHK, made.v_SKI):
            S, rows, columns = t.shape
            random = torch.randn(S, max(rows, columns), min(rows, columns), generator=generator("directions", place.path, rows))
            q = torch.linalg.qr(random).Q
            t.copy_(q if rows >= columns else q.transpose(1, 2))
        return made
