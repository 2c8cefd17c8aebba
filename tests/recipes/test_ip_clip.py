"""IP-CLIP: its banks by a loop, what is unlearned and what is not, and labels that it makes itself."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pairwright.core.features import EncoderMismatch
from pairwright.core.numerics import generator, unit
from pairwright.prompts.fit import Descent, Step, scores
from pairwright.prompts.style_features import encoded, style_features
from pairwright.prompts.style_tokens import StyleTokens
from pairwright.prompts.tokens import hand_text
from pairwright.recipes._two_domains import Other, Seen, apart, balanced_entropy, text_divergence
from pairwright.recipes.ip_clip import IPCLIP, Forbid
from tests.prompts.test_style_tokens import HAND, MODEL, NAMES, TRAIN

FAR = style_features(MODEL, 2 * torch.randn(9, 3, 8, 8, generator=generator("far")) + 1)
FAR = dataclasses.replace(FAR, y_N=torch.arange(9) % 3)
LEARNER = StyleTokens(HAND, reduce=8, content="tokens", how=Descent(lr=0.05, epochs=3, batch=3))
draw = lambda *shape: torch.randn(*shape, generator=generator("ip-clip", *shape))


def step_and_seen(scale: float):
    """A step on 4 authorised rows, and 4 forbidden ones beside it, of 3 classes in 6 dimensions."""
    text, other, z = unit(draw(4, 3, 6)), unit(draw(4, 3, 6).flip(0)), unit(draw(4, 6))
    image = SimpleNamespace(z_BD=z)
    step = Step(text, scale * torch.einsum("bd,bcd->bc", z, text), torch.tensor([0, 2, 1, 1]), image)
    seen = Seen(other, scale * draw(4, 3), draw(4, 2, 5), torch.tensor([2, 0, 1, 1]))
    return step, seen


class Fixed:
    """Another domain whose rows and style tokens are given."""

    def __init__(self, seen: Seen, style: torch.Tensor, scale: float) -> None:
        self.seen, self.learner, self.model = seen, SimpleNamespace(style=lambda image: style), SimpleNamespace(scale=scale)

    def __call__(self, step: Step) -> Seen:
        return self.seen


def test_what_is_wrong_enough_teaches_nothing_more():
    step, seen = step_and_seen(100.0)
    logits = seen.logits_BC.clone().requires_grad_()
    seen = dataclasses.replace(seen, logits_BC=logits)
    term = Forbid(Fixed(seen, seen.style_BJE, 100.0), torch.tensor([0, 1, 2]), (), IPCLIP(mixed=0, entropy=0, text=0))
    term(step).backward()
    assert logits.grad.abs().max() == 0


def test_a_bank_is_the_class_means_of_the_surest_rows():
    z, probs = unit(draw(8, 6)), draw(8, 3).softmax(1)
    bank, expected = IPCLIP(k=2).bank(z, probs), []
    for c in range(3):
        mine = sorted((i for i in range(8) if int(probs[i].argmax()) == c), key=lambda i: -float(probs[i, c]))[:2]
        expected += [torch.stack([z[i] for i in mine]).mean(0)] if mine else []
    torch.testing.assert_close(bank, torch.stack(expected))


def test_the_forbidden_rows_get_worse_and_the_learner_given_stays_as_it_was():
    error = lambda fit, x: float(nn.functional.cross_entropy(fit.logits(MODEL, NAMES, x), x.y))
    how = Descent(lr=0.01, epochs=20, batch=6, optimizer="adamw")
    open_, locked = (IPCLIP(dataclasses.replace(LEARNER, how=how), forbid=w, mixed=0).fit(MODEL, NAMES, TRAIN, FAR) for w in (0, 1))
    assert error(locked, FAR) > error(open_, FAR) + 0.5
    assert not hasattr(LEARNER, "context_")


def test_without_labels_those_of_the_hand_written_prompt_are_unlearned():
    guess = (FAR.z @ hand_text(MODEL, NAMES, "a photo of a {}.").T).argmax(1)
    ours, given = (IPCLIP(LEARNER).fit(MODEL, NAMES, TRAIN, dataclasses.replace(FAR, y_N=y)) for y in (None, guess))
    assert torch.equal(ours.learner_.context_, given.learner_.context_)


def test_refuses_rows_of_another_model_and_labels_without_a_class():
    with pytest.raises(EncoderMismatch):
        IPCLIP(LEARNER).fit(MODEL, NAMES, TRAIN, dataclasses.replace(FAR, encoder="another"))
    with pytest.raises(ValueError, match="label 7"):
        IPCLIP(LEARNER).fit(MODEL, NAMES, TRAIN, dataclasses.replace(FAR, y_N=torch.full((9,), 7)))


def step_of(learner: StyleTokens) -> Step:
    image = encoded(TRAIN, MODEL)
    text = learner.class_text(MODEL, learner.ids(MODEL, NAMES), image)
    return Step(text, scores(text, image.z_BD, MODEL.scale), TRAIN.y, image, torch.arange(len(TRAIN)))


def test_the_terms_of_ip_clip_by_hand_and_what_is_wrong_enough_has_no_pull():
    lock = IPCLIP(LEARNER).fit(MODEL, NAMES, TRAIN, FAR)
    fitted = lock.learner_
    other, step = Other.of(fitted, MODEL, NAMES, FAR, lock), step_of(fitted)
    bank = unit(torch.randn(2, 4, MODEL.width, generator=generator("banks")))
    seen, total = other(step), 0.0
    z_BD = TRAIN.z_ND
    cross = lambda logits, y: float(-logits.log_softmax(1)[torch.arange(len(y)), y].mean())
    total += min(cross(seen.logits_BC, FAR.y[seen.rows_B]), 5.0)
    for F in bank:
        mixed = torch.stack([unit(z + (0.1 * F @ z).softmax(0) @ F) for z in z_BD])
        total += min(cross(scores(step.text, mixed, MODEL.scale), TRAIN.y), 5.0)
    total += 0.1 * float(apart(fitted.style(step.image), seen.style_BJE)) + float(text_divergence(step.text, seen.text_BCD))
    expected = 0.01 * float(balanced_entropy(seen.logits_BC)) - total
    found = Forbid(other, FAR.y, tuple(bank), lock)(step)
    assert float(found) == pytest.approx(expected, abs=1e-4)
    capped = IPCLIP(LEARNER, cap=0.0, text=0.0, entropy=0.0)
    assert float(Forbid(other, FAR.y, tuple(bank), capped)(step)) == 0


def test_ip_clip_that_forbids_nothing_is_the_learner():
    plain = StyleTokens(HAND, reduce=8, content="tokens", how=LEARNER.how).fit(MODEL, NAMES, TRAIN)
    off = IPCLIP(LEARNER, forbid=0.0).fit(MODEL, NAMES, TRAIN, FAR)
    torch.testing.assert_close(off.logits(MODEL, NAMES, FAR), plain.logits(MODEL, NAMES, FAR))


def test_refuses_an_empty_domain_and_answers_before_fit():
    with pytest.raises(ValueError, match="not fitted yet"):
        IPCLIP(LEARNER).logits(MODEL, NAMES, TRAIN)
    with pytest.raises(ValueError, match="the second has none"):
        IPCLIP(LEARNER).fit(MODEL, NAMES, TRAIN, TRAIN.rows([]))
