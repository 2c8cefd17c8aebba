"""ProGrad: CoOp that only takes steps which do not lead away from what zero-shot knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pairwright.core.card import Card
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import GradientRule, Step, scores
from pairwright.prompts.tokens import hand_text

CARD = Card(
    name="ProGrad (prompt-aligned gradient)",
    symbol="ProGrad",
    paper="extra:prograd",
    title="Prompt-aligned Gradient for Prompt Tuning",
    year=2023,
    arxiv="2205.14865",
    where="section 3.2, equations 4 and 5",
    equation="g = g_task where g_task . g_know >= 0, else g_task - strength (g_task . g_know) / |g_know|^2 g_know,  "
    "g_know the gradient of KL(zero-shot | prompt)",
    says="Steps that would raise the disagreement with zero-shot are where few-shot prompts forget; projecting that part out prevents it.",
    needs="few labelled features + class names + the text tower + a hand-written template",
    cost="two backward passes a step instead of CoOp's one",
    use_when="labels are doubtful, and zero-shot is good already",
    not_when="zero-shot is wrong in a way that labels would correct: that correction is a conflict, and is projected out",
    aliases=("prompt-aligned gradient",),
    neighbours=("prompts/coop", "prompts/kgcoop"),
    deviations=(
        "starts from the words of the template, so that the first step has no disagreement to project on; effect unknown",
        "trained on stored features, without the random crops of the paper; effect unknown",
    ),
    checks=("mechanism:prograd",),
)


@dataclass(frozen=True)
class Agreement:
    """Cross-entropy of the prompt's class probabilities against zero-shot's, both at a temperature: their KL up to a constant."""

    hand_CD: Tensor
    scale: Tensor
    temperature: float
    name: str = "knowledge"

    def __call__(self, step: Step) -> Tensor:
        T = self.temperature
        teacher_BC = (scores(self.hand_CD, step.image.z_BD, self.scale) / T).softmax(-1)
        return T**2 * cross_entropy(step.logits_BC / T, teacher_BC)


@dataclass
class ProGrad(CoOp):
    """Learned text prompt whose gradient steps never work against zero-shot knowledge: robust few-shot prompt learning.

    strength: share of the conflicting part that is taken out; 0 is CoOp. temperature: of both class distributions in the KL. template: the
    hand-written prompt (or several, averaged) that knows. The rest as in CoOp; the start is the template's words.
    """

    context: int | str = "a photo of a {}."
    strength: float = 1.0
    temperature: float = 1.0
    template: str | Sequence[str] = "a photo of a {}."

    def terms(self, model: Any, names: Sequence[str]) -> tuple[Agreement, ...]:
        return (Agreement(hand_text(model, names, self.template), model.scale.detach(), self.temperature),)

    def rule(self) -> GradientRule:
        def aligned(parts: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
            return [without_conflict(task, know, self.strength) for task, know in zip(parts["task"], parts["knowledge"])]

        return aligned


def without_conflict(task: Tensor, know: Tensor, strength: float = 1.0) -> Tensor:
    """The task's gradient, less `strength` of its component against the knowledge's gradient where the two oppose each other.

    A knowledge gradient below a hundred-thousandth of the task's is the rounding of a zero: its direction means nothing.
    """
    inner, square = (task * know).sum(), know.square().sum()
    against = torch.where(square > 1e-10 * task.square().sum(), inner.clamp(max=0) / square.clamp_min(1e-30), 0)
    return task - strength * against * know
