"""Sentence attention: what makes a sentence useful, learned on some classes, holds for classes that have no image at all."""

from __future__ import annotations

import torch
from torch import Tensor

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.heads.zero_shot.prompt_ensemble import PromptEnsemble
from pairwright.heads.zero_shot.sentence_attention import SentenceAttention
from pairwright.ledger.check import Check

CHECK = Check(
    id="sentence_attention",
    card="heads/zero_shot/sentence_attention",
    claim="Attention learned on 20 classes tells useful sentences of 20 new classes from useless ones, and beats their plain mean",
    plant="8 sentences a class, 40% useful; useful ones have one direction in common (they read as visual), the others another; 16 shots",
    baseline="the mean of the sentences, on the new classes",
    control="the two directions are given at random: usefulness cannot be told from the sentence",
    margin=0.06,
    control_margin=0.02,
)
SEEN, CLASSES, SENTENCES, WIDTH, USEFUL = 20, 40, 8, 64, 0.4


def arms(seed: int, planted: bool) -> dict[str, float]:
    rng = lambda what: generator("sentences", seed, what)
    normal = lambda what, *shape: torch.randn(*shape, generator=rng(what)) / shape[-1] ** 0.5
    mean_CD = unit(normal("means", CLASSES, WIDTH))
    useful_CP = torch.rand(CLASSES, SENTENCES, generator=rng("useful")) < USEFUL
    useful_CP[:, 0] = True
    marked_CP = useful_CP if planted else torch.rand(CLASSES, SENTENCES, generator=rng("marks")) < USEFUL
    visual_D, other_D = unit(normal("directions", 2, WIDTH))
    about_CPD = mean_CD[:, None] + 0.8 * normal("sentences", CLASSES, SENTENCES, WIDTH)
    said_CPD = torch.where(useful_CP[..., None], about_CPD, unit(normal("unrelated", CLASSES, SENTENCES, WIDTH)))
    said_CPD = unit(said_CPD + 0.8 * torch.where(marked_CP[..., None], visual_D, other_D))

    def images(split: str, per_class: int, classes: Tensor) -> Features:
        y = torch.arange(CLASSES).repeat(per_class)
        z_ND = unit(mean_CD[y] + 1.8 * normal(split, len(y), WIDTH))
        keep = torch.isin(y, classes)
        return Features(z_ND[keep], y[keep] - classes[0])

    old, new = torch.arange(SEEN), torch.arange(SEEN, CLASSES)
    old_text, new_text = (ClassText(unit(said_CPD[c].mean(1)), prompts_CPD=said_CPD[c], scale=16.0) for c in (old, new))
    train, test_old, test_new = images("train", 16, old), images("test", 50, old), images("test", 50, new)
    score = lambda text, test: accuracy(ZeroShot().fit(None, text).logits(test), test.y)
    head = SentenceAttention().fit(train, old_text)
    choice = SentenceAttention(values=False).fit(train, old_text)
    mean = PromptEnsemble()
    return {
        "ours": score(head.adapt(new_text), test_new),
        "baseline": accuracy(mean.fit(None, new_text).logits(test_new), test_new.y),
        "ours without values": score(choice.adapt(new_text), test_new),
        "seen classes": accuracy(head.logits(test_old), test_old.y),
        "mean on seen classes": accuracy(mean.fit(None, old_text).logits(test_old), test_old.y),
    }
