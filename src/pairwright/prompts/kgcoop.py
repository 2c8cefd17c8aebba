"""KgCoOp: CoOp whose class text is held near the hand-written prompt's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pairwright.core.card import Card
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Step
from pairwright.prompts.tokens import hand_text

CARD = Card(
    name="KgCoOp (knowledge-guided context optimization)",
    symbol="KgCoOp",
    paper="extra:kgcoop",
    title="Visual-Language Prompt Tuning with Knowledge-guided Context Optimization",
    year=2023,
    arxiv="2303.13283",
    where="section 3.2, equations 4 and 5",
    equation="loss = CE(scale z W^T, y) + weight mean_c (1 - W_c . T_c),  T the class text of a hand-written prompt",
    says="Prompt learning forgets by as much as its class text moves from the hand-written one; holding it near keeps new classes right.",
    needs="few labelled features + class names + the text tower + a hand-written template",
    cost="that of CoOp",
    use_when="labels are doubtful, or the classifier has to work for classes that were not in training",
    not_when="images far from what hand-written prompts describe: the anchor then holds back what CoOp would learn",
    aliases=("knowledge-guided CoOp",),
    neighbours=("prompts/coop", "prompts/prograd"),
    deviations=(
        "the distance is one minus the cosine with weight 8, as in the released code; the paper writes the squared Euclidean distance, "
        "which is twice that on unit rows",
        "trained on stored features, without the random crops of the paper; effect unknown",
    ),
    checks=("mechanism:kgcoop",),
)


@dataclass(frozen=True)
class Anchor:
    """weight x mean over classes of 1 - cos(learned class text, target)."""

    target_CD: Tensor
    weight: float
    name: str = "anchor"

    def __call__(self, step: Step) -> Tensor:
        return self.weight * (1 - (step.text * self.target_CD).sum(-1)).mean()


@dataclass
class KgCoOp(CoOp):
    """Learned text prompt that stays close to the hand-written one: safer with wrong labels and on new classes than CoOp.

    weight: of the anchor; 0 is CoOp, and a great weight holds the hand-written prompt. template: the prompt (or several, averaged) that the
    class text is held to. context and the rest as in CoOp; the start is the template's words, as in the paper.
    """

    context: int | str = "a photo of a {}."
    weight: float = 8.0
    template: str | Sequence[str] = "a photo of a {}."

    def terms(self, model: Any, names: Sequence[str]) -> tuple[Anchor, ...]:
        return (Anchor(hand_text(model, names, self.template), self.weight),)
