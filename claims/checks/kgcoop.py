"""KgCoOp: held near the hand-written prompt, a context learned from partly wrong labels forgets less."""

from __future__ import annotations

from claims import prompting
from claims import vector_towers as T
from pairwright.ledger.check import Check
from pairwright.prompts.kgcoop import KgCoOp

CHECK = Check(
    id="kgcoop",
    card="prompts/kgcoop",
    claim="With wrong labels among few shots, holding the class text near the hand-written prompt's keeps base and new classes right",
    plant="40% of the labels of 4 shots of 32 base classes are wrong; images as in pretraining",
    baseline="CoOp from the same start, with the same steps",
    control="all labels right",
    margin=0.015,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    return prompting.from_wrong_labels(KgCoOp, seed, planted)
