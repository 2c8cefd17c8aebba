"""Sentence attention against a slow loop over sentences and torch's attention, and its limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from pairwright.core.features import ClassText
from pairwright.core.numerics import unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot.prompt_ensemble import PromptEnsemble, mean_of_prompts
from pairwright.heads.zero_shot.sentence_attention import RATIOS, SentenceAttention, class_vectors

SIM = simulate(0, classes=4, shots=4, width=12, prompts=5)
G = torch.Generator().manual_seed(0)
WEIGHTS = [torch.randn(*s, generator=G) for s in ((12, 3), (12, 3), (12, 3), (3, 12))]


def ragged():
    prompts = SIM.text.prompts_CPD.clone()
    prompts[1, 3:] = 0
    prompts[2, 1:] = 0
    return prompts


def test_class_vectors_are_the_stated_sum():
    """Every softmax and mean by a loop in numpy, padded sentences left out."""
    Q, K, V, O = (w.double().numpy() for w in WEIGHTS)
    prompts = ragged().double()
    for c, rows in enumerate(prompts.numpy()):
        rows = rows[np.abs(rows).sum(1) > 0]
        total = np.zeros(12)
        for p in rows:
            e = np.exp([(p @ Q) @ (q @ K) / 3**0.5 for q in rows])
            total += 0.3 * p + 0.7 * sum(a * (q + q @ V @ O) for a, q in zip(e / e.sum(), rows))
        ours = class_vectors(prompts, *(w.double() for w in WEIGHTS), 0.7)[c]
        np.testing.assert_allclose(ours, total / np.linalg.norm(total), atol=1e-6)


def test_attention_alone_is_torchs():
    prompts = SIM.text.prompts_CPD
    q, k, v, o = WEIGHTS
    attended = scaled_dot_product_attention(prompts @ q, prompts @ k, prompts + prompts @ v @ o)
    torch.testing.assert_close(class_vectors(prompts, *WEIGHTS, 1.0), unit(attended.mean(1)), rtol=1e-4, atol=1e-5)


def test_it_starts_at_a_reweighted_mean_and_ratio_zero_is_the_mean():
    torch.testing.assert_close(class_vectors(ragged(), *WEIGHTS, 0.0), mean_of_prompts(ragged()))
    text = dataclasses.replace(SIM.text, W_CD=mean_of_prompts(ragged()), prompts_CPD=ragged())
    mean = PromptEnsemble().fit(None, text).logits(SIM.test)
    torch.testing.assert_close(SentenceAttention(ratio=0.0).fit(SIM.train, text).logits(SIM.test), mean)
    torch.testing.assert_close(SentenceAttention().fit(SIM.train.rows([]), text).logits(SIM.test), mean)


def test_one_sentence_a_class_leaves_it_without_values():
    one = dataclasses.replace(SIM.text, prompts_CPD=SIM.text.prompts_CPD[:, :1])
    head = SentenceAttention(values=False).fit(SIM.train, one)
    torch.testing.assert_close(head.text_, one.prompts_CPD[:, 0])


def test_training_lowers_the_loss_and_new_classes_are_weighed_by_what_was_learnt():
    loss = lambda head: torch.nn.functional.cross_entropy(head.logits(SIM.train), SIM.train.y)
    before, head = (SentenceAttention(epochs=e).fit(SIM.train, SIM.text) for e in (1, 200))
    assert loss(head) < loss(before) - 0.1
    new = simulate(1, classes=3, width=12, prompts=7).text
    expected = class_vectors(new.prompts_CPD, head.query_, head.key_, head.value_, head.out_, 0.5)
    assert torch.equal(head.adapt(new).W_CD, expected)
    assert isinstance(head.adapt(new), ClassText)


def test_ratio_on_val_is_the_best_of_four():
    tuned = SentenceAttention(epochs=20).fit(SIM.train, SIM.text, val=SIM.val)
    scores = {r: accuracy(SentenceAttention(ratio=r, epochs=20).fit(SIM.train, SIM.text).logits(SIM.val), SIM.val.y) for r in RATIOS}
    assert tuned.ratio_ == min(r for r in RATIOS if scores[r] == max(scores.values()))


def test_text_without_single_prompts_is_refused():
    with pytest.raises(ValueError, match="single prompts"):
        SentenceAttention().fit(SIM.train, ClassText(SIM.text.W_CD))
