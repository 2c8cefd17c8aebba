"""BiomedCoOp: an ensemble of written prompts without its outliers holds a context that learns from partly wrong labels."""

from __future__ import annotations

from claims import vector_towers as T
from claims.prompting import HAND, figures
from pairwright.ledger.check import Check
from pairwright.prompts.biomedcoop import BiomedCoOp
from pairwright.prompts.coop import CoOp

CHECK = Check(
    id="biomedcoop",
    card="prompts/biomedcoop",
    claim="With wrong labels among few shots, an ensemble of written prompts, a fifth of them false, keeps base and new classes right",
    plant="40% of the labels of 4 shots of 10 base classes are wrong; 2 of 10 prompts a class describe a class that is not among them; "
    "the paper's steps; mean of three draws of classes and labels",
    baseline="CoOp from the same start, with the same steps",
    control="all labels right, no prompt false",
    margin=0.015,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)
DRAWS = 3
KINDS = ("a photo of a {}", "a picture of a {}", "an image with a {}", "here is a {}", "a {}")


def fixtures() -> None:
    T.tower()


def prompts_of(names: list[str], others: list[str], false: int) -> dict[str, list[str]]:
    """Ten prompts a class: every wording twice; the last `false` ones speak of a class that is not among them."""
    told = lambda c, p: (others if p >= 10 - false else names)[c]
    return {name: [KINDS[p % 5].format(told(c, p)) for p in range(10)] for c, name in enumerate(names)}


def arms(seed: int, planted: bool) -> dict[str, float]:
    each = [one(DRAWS * seed + draw, planted) for draw in range(DRAWS)]
    return {name: sum(found[name] for found in each) / DRAWS for name in each[0]}


def one(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = T.tower(), (half[:10] for half in T.split(seed))
    look = lambda start, n: T.scenes(model, n, start + 100_000 * seed, noise=1.5)
    train = T.wrong_labels(T.only(look(30_000, 2000), base, shots=4), 0.4 if planted else 0.0, len(base), seed)
    test, found = look(60_000, 5000), {}
    parts = [(T.named(classes), T.only(test, classes)) for classes in (base, new)]
    written = prompts_of(parts[0][0], T.named(T.split(seed)[1][10:20]), 2 if planted else 0)
    learned = {"ours": BiomedCoOp(HAND, prompts=written), "baseline": CoOp(HAND)}
    if planted:
        learned["all prompts"] = BiomedCoOp(HAND, prompts=written, tau=float("inf"))
    for name, learner in learned.items():
        found |= figures(name, learner.fit(model, parts[0][0], train), model, parts)
    return found
