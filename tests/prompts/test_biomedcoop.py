"""BiomedCoOp's outlier rule and terms against loops in numpy, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.core.encoded import Encoded
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.prompts.biomedcoop import BiomedCoOp, Consistency, Selective, ordinary
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent, Step

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(5, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
RNG = generator("biomedcoop")
TRAIN = Features(unit(torch.randn(9, 16, generator=RNG)), torch.arange(9) % 3, encoder=MODEL.fingerprint)
HOW = Descent(lr=0.01, epochs=3, batch=4)
PROMPTS = unit(unit(torch.randn(3, 1, 16, generator=RNG)) + 0.1 * torch.randn(3, 9, 16, generator=RNG))


def kept_by_loop(z: np.ndarray, d: np.ndarray, scale: float, tau: float) -> list[bool]:
    C, P, _ = d.shape
    q = [np.mean([max(scale * float(row @ d[c, p]) for c in range(C)) for row in z]) for p in range(P)]
    middle = sorted(q)[(P - 1) // 2]  # torch's median: the lower of two
    mad = sorted(abs(v - middle) for v in q)[(P - 1) // 2]
    r = np.array([(v - middle) / mad for v in q])
    return [abs(v - r.mean()) <= tau * r.std(ddof=1) for v in r]


@pytest.mark.parametrize("tau", [0.5, 1.0, 1.5])
def test_outliers_are_those_of_the_loop(tau):
    found = ordinary(TRAIN.z, PROMPTS, 20.0, tau)
    assert found.tolist() == kept_by_loop(TRAIN.z.double().numpy(), PROMPTS.double().numpy(), 20.0, tau)
    assert not found.all() or tau == 1.5


def test_a_prompt_unlike_the_others_goes_and_equal_ones_stay():
    odd = PROMPTS.clone()
    odd[:, 4] = -TRAIN.z.mean(0)
    assert ordinary(TRAIN.z, unit(odd), 20.0, 1.5).tolist() == [p != 4 for p in range(9)]
    assert ordinary(TRAIN.z, PROMPTS[:, :1].expand(-1, 5, -1), 20.0, 1.5).all()
    assert ordinary(TRAIN.z, PROMPTS[:, :1], 20.0, 1.5).tolist() == [True]
    assert ordinary(TRAIN.z, PROMPTS, 20.0, float("inf")).all()


def test_terms_are_means_over_all_entries():
    text, z = unit(torch.randn(3, 16, generator=RNG)), TRAIN.z[:5]
    step = Step(text, 20 * z @ text.T, TRAIN.y[:5], Encoded(z))
    target = unit(PROMPTS.mean(1))
    squares = [float((text[c, d] - target[c, d]) ** 2) for c in range(3) for d in range(16)]
    assert float(Consistency(target, 2.0)(step)) == pytest.approx(2 * np.mean(squares), rel=1e-5)
    keep = kept_by_loop(z.double().numpy(), PROMPTS.double().numpy(), 20.0, 1.0)
    K = PROMPTS.double().numpy()[:, keep].mean(1)
    K /= np.linalg.norm(K, axis=1, keepdims=True)
    softmax = lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)
    t, s = softmax(20 * z.double().numpy() @ K.T), softmax(step.logits_BC.double().numpy())
    assert float(Selective(PROMPTS, torch.tensor(20.0), 1.0, 3.0)(step)) == pytest.approx(3 * (t * np.log(t / s)).mean(), rel=1e-4)


def test_no_weights_are_coop_and_great_ones_hold_the_written_prompts():
    plain = CoOp(HAND, how=HOW).fit(MODEL, NAMES, TRAIN)
    free = BiomedCoOp(HAND, match=0.0, distil=0.0, how=HOW).fit(MODEL, NAMES, TRAIN)
    torch.testing.assert_close(free.context_, plain.context_)
    written = {n: [f"a photo of a {n}", f"an image with a {n}"] for n in NAMES}
    held = BiomedCoOp(HAND, prompts=written, match=1e3, distil=0.0, how=Descent(lr=2e-3, epochs=10, batch=4)).fit(MODEL, NAMES, TRAIN)
    target = unit(held.written(MODEL, NAMES).mean(1))
    distance = lambda learner: float((learner.text(MODEL, NAMES).W_CD - target).norm())
    assert distance(held) < 0.7 * distance(plain)


def test_written_prompts_are_the_texts_given():
    written = {n: [f"{n} {i}" for i in range(3)] for n in NAMES}
    found = BiomedCoOp(HAND, prompts=written).written(MODEL, NAMES)
    expected = MODEL.text(MODEL.tokenizer([p for n in NAMES for p in written[n]])).z_BD.view(3, 3, 16)
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="same number of prompts"):
        BiomedCoOp(HAND, prompts={**written, "star": ["one"]}).written(MODEL, NAMES)
    with pytest.raises(ValueError, match="same number of prompts"):
        BiomedCoOp(HAND, prompts={"star": ["one"]}).written(MODEL, NAMES)
