"""PerceptionCLIP: text that names the inferred background keeps the background from deciding, and knows how a class looks there."""

from __future__ import annotations

import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.heads.zero_shot.context_posterior import ContextPosterior
from pairwright.heads.zero_shot.prompt_ensemble import PromptEnsemble
from pairwright.ledger.check import Check

CHECK = Check(
    id="context_posterior",
    card="heads/zero_shot/context_posterior",
    claim="Where plain text leans to a class's usual background, conditioning on the inferred one raises the accuracy of the worst group",
    plant="8 classes, 4 backgrounds; plain text carries its class's usual background (0.6); a class looks different before each",
    baseline="the better of the plain text and the mean of the texts with backgrounds, in the worst of 32 groups",
    control="images without a background and plain text that names none: there is no context to infer",
    margin=0.04,
    control_margin=0.02,
    metric="worst-group accuracy",
)
CLASSES, BACKGROUNDS, WIDTH, ROWS = 8, 4, 64, 100


def arms(seed: int, planted: bool) -> dict[str, float]:
    normal = lambda what, *shape: torch.randn(*shape, generator=generator("contexts", seed, what)) / shape[-1] ** 0.5
    class_CD, back_KD = unit(normal("classes", CLASSES, WIDTH)), unit(normal("backgrounds", BACKGROUNDS, WIDTH))
    y, k = (g.reshape(-1).repeat(ROWS) for g in torch.meshgrid(torch.arange(CLASSES), torch.arange(BACKGROUNDS), indexing="ij"))
    lean, own, shown = (0.6, 0.7, 1.0) if planted else (0.0, 0.0, 0.0)
    seen_CKD = class_CD[:, None] + back_KD + own * unit(normal("looks", CLASSES, BACKGROUNDS, WIDTH))
    images = Features.of(seen_CKD[y, k] - (1 - shown) * back_KD[k] + 1.6 * normal("images", len(y), WIDTH), y)
    usual_C = torch.arange(CLASSES) % BACKGROUNDS
    plain_CD = unit(class_CD + lean * back_KD[usual_C] + 0.5 * normal("plain", CLASSES, WIDTH))
    named_CKD = seen_CKD + 0.5 * normal("named", CLASSES, 1, WIDTH) + 0.2 * normal("prompts", CLASSES, BACKGROUNDS, WIDTH)
    text = ClassText(plain_CD, prompts_CPD=unit(named_CKD), scale=16.0)

    def worst(head) -> float:
        right_N = (head.fit(None, text).logits(images).argmax(1) == y).double()
        return min(float(right_N[(y == c) & (k == b)].mean()) for c in range(CLASSES) for b in range(BACKGROUNDS))

    plain, mean = worst(ZeroShot()), worst(PromptEnsemble())
    inferred = ContextPosterior().fit(None, text).contexts(images).argmax(1)
    return {
        "ours": worst(ContextPosterior()),
        "baseline": max(plain, mean),
        "plain text": plain,
        "mean of contexts": mean,
        "all contexts alike": worst(ContextPosterior(temperature=1e4)),
        "background inferred": float((inferred == k).double().mean()),
    }
