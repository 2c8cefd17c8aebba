"""Classification by description: what a thing looks like reaches classes whose name the model does not know."""

from __future__ import annotations

import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.heads.zero_shot.description_ensemble import DescriptionEnsemble
from pairwright.ledger.check import Check
from pairwright.metrics.topk_accuracy import topk_accuracy

CHECK = Check(
    id="description_ensemble",
    card="heads/zero_shot/description_ensemble",
    claim="The mean score of six descriptions beats the class name where the name is nearly unknown to the model.",
    plant="20 classes are sets of 6 out of 24 attributes; names err by 3 times their length, descriptions by 0.8",
    baseline="zero-shot with the class name",
    control="the descriptions name six random attributes: as many texts, without the content",
    margin=0.15,
    control_margin=0.0,
)
ATTRIBUTES, CLASSES, PER_CLASS, WIDTH, ROWS = 24, 20, 6, 64, 50


def arms(seed: int, planted: bool) -> dict[str, float]:
    normal = lambda what, *shape: torch.randn(*shape, generator=generator("descriptions", seed, what))
    attribute_AD = unit(normal("attributes", ATTRIBUTES, WIDTH))
    own_CP = normal("own", CLASSES, ATTRIBUTES).argsort(1)[:, :PER_CLASS]
    named_CP = own_CP if planted else normal("random", CLASSES, ATTRIBUTES).argsort(1)[:, :PER_CLASS]
    class_CD = unit(attribute_AD[own_CP].sum(1))
    y = torch.arange(CLASSES).repeat(ROWS)
    axis = WIDTH**-0.5
    images = Features.of(class_CD[y] + 1.5 * axis * normal("images", len(y), WIDTH), y)
    names_CD = unit(class_CD + 3 * axis * normal("names", CLASSES, WIDTH))
    said_CPD = unit(attribute_AD[named_CP] + 0.8 * axis * normal("descriptions", CLASSES, PER_CLASS, WIDTH))
    score = lambda head, text: topk_accuracy(head.fit(None, text).logits(images), y)
    return {
        "ours": score(DescriptionEnsemble(), ClassText(names_CD, prompts_CPD=said_CPD)),
        "baseline": score(ZeroShot(), ClassText(names_CD)),
    }
