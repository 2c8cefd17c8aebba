"""PromptSRC: deep prompts in both towers that are held to the frozen model in three ways, and averaged over training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import kl_div, l1_loss

from pairwright.core.card import Card
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Step, Term, scores
from pairwright.prompts.images import Images, encode_all
from pairwright.prompts.tokens import frozen, hand_text

CARD = Card(
    name="PromptSRC (self-regulating prompts)",
    symbol="PromptSRC",
    paper="extra:promptsrc",
    title="Self-regulating Prompts: Foundational Model Adaptation without Forgetting",
    year=2023,
    arxiv="2307.06948",
    where="sections 3.2 to 3.4, equations 3 to 6",
    equation="loss = CE + 25 mean|W - T| + 10 mean|z - f| + KL(softmax(s f T^T) | softmax(s z W^T)) / C;  prompts = sum_e w_e prompts_e,  "
    "w_e ~ exp(-(e - 15)^2 / 2) of 20 epochs;  f, T image and ensembled class text of the frozen model",
    says="Held to the frozen features of both towers and to its class scores, and averaged over epochs, prompts learn without forgetting.",
    needs="few labelled images + class names + a plain ViT and text transformer + hand-written templates",
    cost="that of deep prompts in both towers, and the training images embedded once by the frozen model",
    use_when="few or doubtful labels, long training, and new classes matter",
    not_when="images so far from the model's own that its features are no guide",
    aliases=("self-regulating prompts", "self-regulated prompt learning", "GPA", "Gaussian prompt averaging"),
    neighbours=("prompts/deep_prefix", "prompts/kgcoop", "prompts/maple"),
    deviations=(
        "the ensemble is the mean of unit embeddings of the given templates; the released code averages raw ones of 60. Effect unknown",
        "both absolute differences are means over all entries, and the KL is over the number of classes too, as in the released code",
        "trained on the images as given, without the random crops of the paper; effect unknown",
    ),
    checks=("mechanism:promptsrc",),
)


@dataclass(frozen=True)
class TextMatch:
    """weight x mean absolute difference of learned class text and the frozen model's."""

    target_CD: Tensor
    weight: float
    name: str = "text"

    def __call__(self, step: Step) -> Tensor:
        return self.weight * l1_loss(step.text, self.target_CD)


@dataclass(frozen=True)
class ImageMatch:
    """weight x mean absolute difference of image features and the frozen model's of the same images."""

    target_ND: Tensor
    weight: float
    name: str = "image"

    def __call__(self, step: Step) -> Tensor:
        return self.weight * l1_loss(step.image.z_BD, self.target_ND[step.rows_B])


@dataclass(frozen=True)
class ScoreMatch:
    """weight x KL of the class probabilities from the frozen model's, over the number of classes."""

    target_CD: Tensor
    target_ND: Tensor
    scale: Tensor
    weight: float
    name: str = "scores"

    def __call__(self, step: Step) -> Tensor:
        teacher_BC = scores(self.target_CD, self.target_ND[step.rows_B], self.scale).log_softmax(-1)
        kl = kl_div(step.logits_BC.log_softmax(-1), teacher_BC, reduction="sum", log_target=True)
        return self.weight * kl / step.logits_BC.numel()


@dataclass
class PromptSRC(DeepPrefix):
    """Self-regulating prompts: deep prompts in both towers that learn few labelled images without forgetting what the model knows.

    text_weight, image_weight, score_weight: of the distances to the frozen model's class text, image features and class scores. template:
    hand-written prompts whose mean is that class text. centre, spread: the learned tokens are averaged over epochs by a Gaussian with this
    mean and deviation, in shares of all epochs; centre None keeps the last ones. With that and all weights 0 it is DeepPrefix. The rest as
    there; defaults are the paper's.
    """

    towers: tuple[str, ...] = ("image", "text")
    layers: int | None = 9
    text_weight: float = 25.0
    image_weight: float = 10.0
    score_weight: float = 1.0
    template: str | Sequence[str] = "simple"
    centre: float | None = 0.75
    spread: float = 0.05

    def terms(self, model: Any, names: Sequence[str], images: Images) -> tuple[Term, ...]:
        text_CD = hand_text(model, names, self.template)
        with torch.no_grad(), frozen(model):
            z_ND = encode_all(images, lambda x: model.image(x).z_BD, model)
        return (
            TextMatch(text_CD, self.text_weight),
            ImageMatch(z_ND, self.image_weight),
            ScoreMatch(text_CD, z_ND, model.scale.detach(), self.score_weight),
        )

    def after_epoch(self) -> Callable[[int, int], None] | None:
        if self.centre is None:
            return None
        learned = [self.context_, self.text_, self.image_]
        mean = [torch.zeros_like(p) for p in learned]

        @torch.no_grad()
        def average(epoch: int, epochs: int) -> None:
            weight = gaussian(epochs, self.centre, self.spread)[epoch]
            for m, p in zip(mean, learned):
                m += weight * p
                if epoch == epochs - 1:
                    p.copy_(m)

        return average


def gaussian(epochs: int, centre: float, spread: float) -> Float[Tensor, " epochs"]:
    """Weights of the epochs 1, 2, … that sum to one: a Gaussian around centre x epochs with deviation spread x epochs."""
    e = torch.arange(1, epochs + 1)
    return (-0.5 * ((e - centre * epochs) / (spread * epochs)) ** 2).softmax(0)
